import { type ClientAddress, loopbackAddress } from '../load/address-pool.js';
import { outcomeOf } from '../load/outcome.js';
import { RequestHead } from '../load/request.js';
import { type Answer, Transport } from '../load/transport.js';
import { Operator, operatorAccount } from '../operator.js';
import type { StormOptions } from './login-storm-options.js';
import { judgeStorm, type Logins, type StormVerdict } from './login-storm-verdict.js';

/** What came of a simulation; printed as JSON as it is. */
export interface StormReport extends StormVerdict {
  readonly scenario: 'login-storm';
  readonly base_url: string;
  readonly tenants: readonly [flooding: string, other: string];
  readonly clients: number;
  readonly seconds: number;
  /** Logins a second that the system takes when as many come as it can do. */
  readonly capacity: number;
  /** What was asked for in the storm: the usual rate, half of the capacity, × 12 500 / 800. */
  readonly wanted_per_second: number;
  readonly sent_per_second: number;
  /** Of the other tenant, before the storm and in it. */
  readonly before: Logins;
  readonly other: Logins;
  readonly flooding: Logins;
  /** Longest that a login of the flooding tenant waited for a refusal, in milliseconds. */
  readonly refused_after_ms: number;
}

/** The story's rates: 800 logins a second become 12 500. */
const STORM_FACTOR = 12_500 / 800;
const USUAL_SHARE = 0.5;
const ACCOUNTS = 8;
const CALIBRATION_MS = 2_000;
const CALIBRATION_CLIENTS = 16;
const BEFORE_ROUNDS = 3;
const PAUSE_MS = 250;
const CALL_TIMEOUT_MS = 15_000;
/** Addresses of the other tenant's users begin here; those of the flood are below. */
const OTHER_ADDRESSES = 50_000;

interface Account {
  readonly email: string;
  readonly password: string;
  readonly tenant: string;
}

/** One tenant logs in as fast as it can, and another as always. */
export async function simulateLoginStorm(options: StormOptions): Promise<StormReport> {
  const { origin, clients, seconds } = options;
  const operator = await Operator.signIn(origin, operatorAccount(process.env));
  for (const tenant of options.tenants) await operator.createTenant(tenant, 'A login storm of the lab');
  const storm = new Storm(origin);
  try {
    const [flooding, others] = [await storm.accounts(options.tenants[0]), await storm.accounts(options.tenants[1])];
    const capacity = await storm.capacity(flooding);
    const before = new Count();
    for (let round = 0; round < BEFORE_ROUNDS; round++) {
      for (const account of others) before.add(await storm.login(account, storm.otherAddress()));
    }
    const wanted = Math.round(capacity * USUAL_SHARE * STORM_FACTOR);
    const flood = new Count();
    const other = new Count();
    const began = performance.now();
    const end = began + seconds * 1000;
    await Promise.all([storm.flood(flooding, clients, wanted, end, flood), storm.goOn(others, end, other)]);
    const elapsed = (performance.now() - began) / 1000;
    const facts = {
      scenario: 'login-storm',
      base_url: origin,
      tenants: options.tenants,
      clients,
      seconds,
      capacity: Math.round(capacity),
      wanted_per_second: wanted,
      sent_per_second: Math.round(flood.sent / elapsed),
      before: before.summary(),
      other: other.summary(),
      flooding: flood.summary(),
      refused_after_ms: Math.round(flood.longestRefusal),
    } as const;
    return { ...facts, ...judgeStorm(facts) };
  } finally {
    storm.close();
  }
}

class Storm {
  private readonly transport: Transport;
  private readonly run = Date.now().toString(36);
  private nextOther = OTHER_ADDRESSES;

  constructor(origin: string) {
    this.transport = new Transport(origin, 'source', CALL_TIMEOUT_MS);
  }

  close(): void {
    this.transport.close();
  }

  /** Each login of the other tenant comes from an address of its own, as from a user's home. */
  otherAddress(): ClientAddress {
    return addressOf(this.nextOther++);
  }

  async accounts(tenant: string): Promise<Account[]> {
    const made: Account[] = [];
    for (let index = 0; index < ACCOUNTS; index++) {
      const email = `${tenant}-${this.run}-${index}@lab.invalid`;
      const account = { email, password: `${this.run} storm of ${index} passwords`, tenant };
      const answer = await this.post('/api/v1/auth/register', account, this.otherAddress());
      if (answer.status !== 200) throw new Error(`an account of ${tenant} cannot be made: ${labelOf(answer)}`);
      made.push(account);
    }
    return made;
  }

  login(account: Account, from: ClientAddress): Promise<Timed> {
    return this.timed('/api/v1/auth/login', account, from);
  }

  /** Logins a second while a few clients log in without a pause. */
  async capacity(accounts: readonly Account[]): Promise<number> {
    const began = performance.now();
    let taken = 0;
    const client = async () => {
      while (performance.now() - began < CALIBRATION_MS) {
        const { answer } = await this.login(accounts[taken % accounts.length]!, this.otherAddress());
        if (answer.status === 200) taken++;
      }
    };
    await Promise.all(Array.from({ length: CALIBRATION_CLIENTS }, client));
    if (taken === 0) throw new Error('no login succeeded in quiet: is this system meant to be loaded?');
    return taken / ((performance.now() - began) / 1000);
  }

  /** Each client has an address, one login under way, and its share of the rate. */
  async flood(accounts: readonly Account[], clients: number, rate: number, end: number, count: Count): Promise<void> {
    const everyMs = (clients * 1000) / rate;
    const client = async (index: number) => {
      const from = addressOf(index);
      await delay((index / clients) * everyMs);
      for (let due = performance.now(); performance.now() < end; due += everyMs) {
        count.add(await this.login(accounts[index % accounts.length]!, from));
        await delay(Math.min(due + everyMs, end) - performance.now());
      }
    };
    await Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  }

  /** All users of the other tenant log in, and again after a pause, until the storm is over; once at least. */
  async goOn(accounts: readonly Account[], end: number, count: Count): Promise<void> {
    await delay(PAUSE_MS);
    do {
      for (const account of accounts) count.add(await this.login(account, this.otherAddress()));
      await delay(PAUSE_MS);
    } while (performance.now() < end);
  }

  private async timed(path: string, body: Account, from: ClientAddress): Promise<Timed> {
    const began = performance.now();
    const answer = await this.post(path, body, from);
    return { answer, ms: performance.now() - began };
  }

  private post(path: string, body: Account, from: ClientAddress): Promise<Answer> {
    const head = new RequestHead('POST', path);
    const fields = `x-tenant-id: ${body.tenant}\r\n`;
    const request = { head, body: JSON.stringify(body), keep: 'nothing' } as const;
    return new Promise((resolve) => this.transport.send(from, request, fields, resolve));
  }
}

interface Timed {
  readonly answer: Answer;
  readonly ms: number;
}

class Count {
  sent = 0;
  longestRefusal = 0;
  private readonly outcomes = new Map<string, number>();
  private readonly times: number[] = [];

  add({ answer, ms }: Timed): void {
    this.sent++;
    const label = labelOf(answer);
    this.outcomes.set(label, (this.outcomes.get(label) ?? 0) + 1);
    if (answer.status === 200) this.times.push(ms);
    else this.longestRefusal = Math.max(this.longestRefusal, ms);
  }

  summary(): Logins {
    const ascending = this.times.toSorted((a, b) => a - b);
    const at = (share: number) => Math.round(ascending[Math.ceil(ascending.length * share) - 1] ?? 0);
    const outcomes = Object.fromEntries([...this.outcomes].toSorted(([, a], [, b]) => b - a));
    return { sent: this.sent, outcomes, p50_ms: at(0.5), p95_ms: at(0.95) };
  }
}

function labelOf(answer: Answer): string {
  const outcome = outcomeOf(answer);
  if (outcome.kind === 'ok') return '200';
  return outcome.kind === 'refused' ? `429 by ${outcome.blockedBy}` : outcome.cause;
}

function addressOf(index: number): ClientAddress {
  return { index, address: loopbackAddress(index), heldUntilMs: 0, refusalsInARow: 0 };
}

function delay(ms: number): Promise<void> {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();
}
