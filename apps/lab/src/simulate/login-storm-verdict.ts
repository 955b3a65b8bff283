/** Logins of one tenant by how they ended: `200`, `503 OVERLOADED`, `429 by ip`, `ECONNRESET`. */
export interface Logins {
  readonly sent: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** Of those that were taken, in milliseconds. */
  readonly p50_ms: number;
  readonly p95_ms: number;
}

export interface StormFacts {
  readonly tenants: readonly [flooding: string, other: string];
  readonly wanted_per_second: number;
  readonly sent_per_second: number;
  readonly before: Logins;
  readonly other: Logins;
  readonly flooding: Logins;
}

export interface StormVerdict {
  readonly passed: boolean;
  /** Why it did not pass: one sentence each. */
  readonly reasons: readonly string[];
  /** What to change, and what else is worth knowing. */
  readonly advice: readonly string[];
}

const SLOWER_MAX = 2;

/** Every login of the other tenant is taken, and in less than twice the time of a quiet hour; nobody waits for a 504. */
export function judgeStorm({
  tenants,
  wanted_per_second,
  sent_per_second,
  before,
  other,
  flooding,
}: StormFacts): StormVerdict {
  const reasons: string[] = [];
  const advice: string[] = [];
  const failed = Object.entries(other.outcomes).filter(([outcome]) => outcome !== '200');
  for (const [outcome, count] of failed) {
    reasons.push(`${count} of ${other.sent} logins of ${tenants[1]} ended with ${outcome} while ${tenants[0]} flooded`);
    advice.push(adviceFor(outcome));
  }
  if (other.p95_ms > SLOWER_MAX * before.p95_ms) {
    reasons.push(
      `p95 of ${tenants[1]} rose from ${before.p95_ms} to ${other.p95_ms} ms; at most ${SLOWER_MAX} times as much`,
    );
    advice.push('On one machine the lab takes processor time of the system: look at the CPU before the queues.');
  }
  const late = flooding.outcomes['504 DEADLINE_EXCEEDED'] ?? 0;
  if (late > 0) {
    reasons.push(
      `${late} logins of ${tenants[0]} waited until their deadline; what cannot be served is to be refused at once`,
    );
    advice.push('PASSWORD_QUEUE_MS bounds the wait for a hash, `max_wait` of the upstream that before it.');
  }
  if (flooding.outcomes['200'] === flooding.sent) {
    advice.push(
      'Nothing of the flood was refused: it was within what the system can do. More --clients make more of it.',
    );
  }
  if (sent_per_second < wanted_per_second / 2) {
    advice.push(
      `${sent_per_second} logins a second were sent of ${wanted_per_second}: each client waits for its answer, so more --clients come nearer.`,
    );
  }
  return { passed: reasons.length === 0, reasons, advice };
}

function adviceFor(outcome: string): string {
  if (outcome.startsWith('429 by tenant')) return 'A limit by tenant refuses the tenant itself: is it too low for it?';
  if (outcome.startsWith('429'))
    return 'A limit refuses it: `npm run limits -- explain POST /api/v1/auth/login` says which.';
  if (outcome.startsWith('503'))
    return 'The queue was full for everybody: are the tenants told apart before they wait (X-Tenant-ID, host)?';
  return 'Connections broke, or nobody answered: docs/runbooks/login-times-out.md begins there.';
}
