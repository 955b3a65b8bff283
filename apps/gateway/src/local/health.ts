import { grpcCodeName } from '@sluice/problem';
import type { Channel, Outcome } from '@sluice/wire';
import type { LocalMethod } from './local.js';

/** How long an answer about health is kept, in milliseconds, so that asking costs the services nothing. */
const KEPT_MS = 1000;
const PATIENCE_MS = 1000;
/** `HealthCheckResponse { status: SERVING }`: https://github.com/grpc/grpc/blob/master/doc/health-checking.md */
const SERVING = Buffer.from([0x08, 0x01]);
const UNIMPLEMENTED = 12;
const DEADLINE_EXCEEDED = 4;
const ANSWERED_LATELY_MS = 5000;

/** Asks the standard health service of every upstream, all at once; each answer within a second. */
export function healthChecks(
  channels: () => Iterable<readonly [string, Channel]>,
): () => Promise<Record<string, string>> {
  let kept: { until: number; answer: Promise<Record<string, string>> } | undefined;
  return () => {
    if (kept && performance.now() < kept.until) return kept.answer;
    const asked = [...channels()].map(async ([name, channel]) => [name, await ask(channel)] as const);
    kept = { until: performance.now() + KEPT_MS, answer: Promise.all(asked).then(Object.fromEntries) };
    return kept.answer;
  };
}

/** `SERVING`, `NOT_SERVING` or `UNREACHABLE`. A server without the health service serves, since it answered. */
function ask(channel: Channel): Promise<string> {
  return new Promise((resolve) => {
    let serving = false;
    channel.unary(
      channel.method('/grpc.health.v1.Health/Check'),
      [],
      new Uint8Array(0),
      { deadline: Date.now() + PATIENCE_MS, unlimited: true },
      {
        onHeaders: () => undefined,
        onMessage: (message) => (serving = message.equals(SERVING)),
        onEnd: (outcome) => resolve(isBusy(outcome, channel) ? 'SERVING' : verdict(outcome, serving)),
      },
    );
  });
}

/** The question found no room among calls that are being answered, or its answer comes after theirs. */
function isBusy({ code, overloaded }: Outcome, channel: Channel): boolean {
  const unanswered = overloaded === true || code === DEADLINE_EXCEEDED;
  return unanswered && Date.now() - channel.stats.heardAt < ANSWERED_LATELY_MS;
}

function verdict(outcome: Outcome, serving: boolean): string {
  if (outcome.code === UNIMPLEMENTED) return 'SERVING';
  if (outcome.code === 0) return serving ? 'SERVING' : 'NOT_SERVING';
  return grpcCodeName(outcome.code) === 'NOT_FOUND' ? 'NOT_SERVING' : 'UNREACHABLE';
}

/** `GET /health`: 200 when every dependency serves, 503 otherwise. */
export function healthMethod(check: () => Promise<Record<string, string>>): LocalMethod {
  return async () => {
    const dependencies = await check();
    const healthy = Object.values(dependencies).every((state) => state === 'SERVING');
    return { status: healthy ? 200 : 503, message: { status: healthy ? 'ok' : 'degraded', dependencies } };
  };
}
