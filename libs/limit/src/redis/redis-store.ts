import { createLocalMode } from '../memory/memory-store.js';
import { Generations } from '../memory/generations.js';
import {
  type Debit,
  type Ask,
  debitedBy,
  type Decision,
  decisionOf,
  type LimitStore,
  refusalOf,
  type Verdict,
} from '../store.js';
import type { CompiledPolicy } from '../policy.js';
import { decodeVerdicts, encodeBatch } from './batch.js';
import { Breaker, type StoreState } from './breaker.js';
import { connectRedis, type RedisClient, type RedisTls } from './connect.js';
import { limitScript } from './script.js';

export interface RedisStoreOptions {
  /** How long one question may take before the declared mode answers. Default 30: 50 with what a busy process adds. */
  readonly answerTimeoutMs?: number;
  /** How often a lost server is looked for. Default 100. */
  readonly probeEveryMs?: number;
  /** Starts every key; its braces put all keys in one hash slot, since a call's buckets are decided together. Default `{sluice:limit}`. */
  readonly keyPrefix?: string;
  /** Called when the server is lost and when it is back, with the reason: once each. */
  readonly onStateChange?: (state: StoreState, reason: string) => void;
  /** Buckets kept in this process for each policy while the server is lost. Default 100 000. */
  readonly bucketsPerPolicyMax?: number;
  /** For `rediss`: what the server's certificate is checked by, and a certificate of ours. */
  readonly tls?: RedisTls;
  /** Microseconds to decide by instead of the server's clock; for tests. */
  readonly clock?: () => number;
}

/** Counted since the store was made, for metrics. */
export interface RedisStoreStats {
  readonly state: StoreState;
  /** Scripts sent; one serves every call of a tick. */
  readonly scripts: number;
  /** Calls that the server decided. */
  readonly decided: number;
  /** Calls refused without asking, because a key of theirs was known to be over its limit. */
  readonly knownRefusals: number;
  readonly timeouts: number;
  readonly errors: number;
  /** Times the server was lost. */
  readonly losses: number;
  /** Policies of calls that were answered by their declared mode instead of the server. */
  readonly byMode: Readonly<Record<'local' | 'open' | 'closed', number>>;
}

/** A store that every process with the same Redis shares. */
export interface RedisStore extends LimitStore {
  readonly stats: RedisStoreStats;
  close(): Promise<void>;
}

interface Waiting {
  readonly asks: readonly Ask[];
  readonly resolve: (decision: Decision) => void;
}

interface Known {
  /** As it was compiled then: a policy that was read again may allow more. */
  readonly policy: CompiledPolicy;
  /** Until when, on this process's clock in milliseconds, an ask of `cost` is refused. */
  readonly until: number;
  /** From when on the server is asked all the same. */
  readonly askAgainAt: number;
  readonly cost: number;
  readonly remaining: number;
}

type Task = 'decide' | 'peek' | 'refund' | 'probe';
type ScriptClient = RedisClient & {
  sluiceLimit(keys: number, ...rest: (string | number | Buffer)[]): Promise<number[]>;
};

/** Calls of one script; more of a tick go into further ones, so that no script holds the server up for long. */
const CALLS_PER_SCRIPT_MAX = 64;
/** Asks of one script. */
const ASKS_PER_SCRIPT_MAX = 4096;
const FAILURES_MAX = 3;
/** How long a refusal is believed without asking: so late does a key reach us that an operator has deleted. */
const KNOWN_MS_MAX = 1_000;
const KNOWN_KEYS_MAX = 20_000;
const FIRST_ANSWER_MS = 2_000;

/**
 * Connects to a Redis (see parseRedisUrl for the forms of its URL) and waits for its first answer, but no longer than
 * two seconds: a server that is not there yet is a lost one.
 */
export async function openRedisStore(url: string, options: RedisStoreOptions = {}): Promise<RedisStore> {
  const store = new SharedBuckets(connectRedis(url, options.tls) as ScriptClient, options);
  await store.start();
  return store;
}

class SharedBuckets implements RedisStore {
  readonly #answerTimeoutMs: number;
  readonly #prefix: string;
  readonly #clock: (() => number) | undefined;
  readonly #nowMs: () => number;
  readonly #breaker: Breaker;
  readonly #local;
  readonly #known = new Generations<Known>(KNOWN_KEYS_MAX);
  #waiting: Waiting[] = [];
  #isStarted = false;
  #scripts = 0;
  #decided = 0;
  #knownRefusals = 0;
  #timeouts = 0;
  #errors = 0;
  #losses = 0;
  readonly #byMode = { local: 0, open: 0, closed: 0 };
  readonly #keyOf = (ask: Ask) => `${this.#prefix}:${ask.policy.id}:${ask.key}`;

  constructor(
    private readonly client: ScriptClient,
    private readonly options: RedisStoreOptions,
  ) {
    this.#answerTimeoutMs = options.answerTimeoutMs ?? 30;
    this.#prefix = options.keyPrefix ?? '{sluice:limit}';
    this.#clock = options.clock;
    this.#nowMs =
      options.clock === undefined ? () => performance.now() : () => (options.clock as () => number)() / 1000;
    this.#local = createLocalMode({ bucketsPerPolicyMax: options.bucketsPerPolicyMax, clock: options.clock });
    this.#breaker = new Breaker({
      probe: () => this.#probe(),
      probeEveryMs: options.probeEveryMs ?? 100,
      failuresMax: FAILURES_MAX,
      onChange: (state, reason) => this.#changed(state, reason),
    });
    client.defineCommand('sluiceLimit', { lua: limitScript });
    client.on('error', () => undefined);
    client.on('close', () => {
      if (this.#isStarted) this.#breaker.open('the connection was closed');
    });
  }

  async start(): Promise<void> {
    const deadline = performance.now() + FIRST_ANSWER_MS;
    for (;;) {
      try {
        await this.#probe();
        break;
      } catch (error) {
        if (performance.now() >= deadline) {
          this.#breaker.open(`no answer at the start: ${(error as Error).message}`);
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
    this.#isStarted = true;
  }

  get stats(): RedisStoreStats {
    return {
      state: this.#breaker.state,
      scripts: this.#scripts,
      decided: this.#decided,
      knownRefusals: this.#knownRefusals,
      timeouts: this.#timeouts,
      errors: this.#errors,
      losses: this.#losses,
      byMode: { ...this.#byMode },
    };
  }

  decide(asks: readonly Ask[]): Decision | Promise<Decision> {
    if (asks.length === 0) return { allowed: true, by: 'store', verdicts: [], asks, at: 0 };
    if (this.#breaker.state === 'lost') return this.#decideByMode(asks);
    const known = this.#known.size > 0 ? this.#knownRefusal(asks) : undefined;
    if (known !== undefined) return known;
    return new Promise((resolve) => {
      // After the poll phase, so that calls read from several sockets in one turn of the loop go together.
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ asks, resolve });
    });
  }

  async peek(asks: readonly Ask[]): Promise<Verdict[]> {
    if (this.#breaker.state === 'lost') return this.#local.peek(asks);
    try {
      const [verdicts] = decodeVerdicts([asks], await this.#run('peek', [asks]));
      return verdicts ?? [];
    } catch {
      return this.#local.peek(asks);
    }
  }

  refund(debit: Debit): void {
    if (debit.by === 'mode') {
      this.#local.refund(debit);
      return;
    }
    const debited = debitedBy(debit);
    // A refund that is lost with the server leaves the bucket as an admitted call would.
    if (debited.length === 0 || this.#breaker.state === 'lost') return;
    const agoUs = Math.max(0, Math.floor(this.#nowMs() * 1000 - debit.at));
    this.#run('refund', [debited], agoUs).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#breaker.close();
    for (const { asks, resolve } of this.#waiting.splice(0)) resolve(this.#decideByMode(asks));
    this.#local.close();
    if (this.client.status === 'end') return;
    // Between two attempts to connect there is no connection whose end would be told.
    const connected = this.client.status !== 'reconnecting';
    const ended = new Promise<void>((resolve) => this.client.once('end', resolve));
    this.client.disconnect();
    if (connected) await ended;
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    let from = 0;
    let asks = 0;
    for (let at = 0; at < waiting.length; at++) {
      const more = waiting[at]!.asks.length;
      if (at > from && (at - from === CALLS_PER_SCRIPT_MAX || asks + more > ASKS_PER_SCRIPT_MAX)) {
        void this.#decideTogether(waiting.slice(from, at));
        from = at;
        asks = 0;
      }
      asks += more;
    }
    if (from < waiting.length) void this.#decideTogether(from === 0 ? waiting : waiting.slice(from));
  }

  async #decideTogether(waiting: readonly Waiting[]): Promise<void> {
    const calls = waiting.map(({ asks }) => asks);
    const at = Math.floor(this.#nowMs() * 1000);
    let verdicts: Verdict[][];
    try {
      verdicts = decodeVerdicts(calls, await this.#run('decide', calls));
    } catch {
      for (const { asks, resolve } of waiting) resolve(this.#decideByMode(asks));
      return;
    }
    this.#decided += waiting.length;
    waiting.forEach(({ asks, resolve }, index) => {
      const decision = decisionOf(asks, verdicts[index] as Verdict[], 'store', at);
      if (!decision.allowed) this.#remember(asks, decision.verdicts);
      resolve(decision);
    });
  }

  /** @throws when there is no answer in time, or an error */
  async #run(task: Task, calls: readonly (readonly Ask[])[], agoUs = 0): Promise<number[]> {
    const { keys, rules, asks } = encodeBatch(calls, this.#keyOf);
    const now = this.#clock?.() ?? 0;
    this.#scripts++;
    try {
      const result = await this.#inTime(this.client.sluiceLimit(keys.length, ...keys, now, task, rules, asks, agoUs));
      this.#breaker.succeeded();
      return result;
    } catch (error) {
      if (error instanceof NoAnswer) this.#timeouts++;
      else this.#errors++;
      this.#breaker.failed((error as Error).message);
      throw error;
    }
  }

  async #probe(): Promise<void> {
    await this.#inTime(this.client.sluiceLimit(1, `${this.#prefix}:probe`, 0, 'probe', '', '', 0));
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // When this process itself was held up, the answer may be waiting to be read: timers run before sockets.
        setImmediate(() => reject(new NoAnswer(`no answer within ${this.#answerTimeoutMs} ms`)));
      }, this.#answerTimeoutMs);
      answer.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  #changed(state: StoreState, reason: string): void {
    if (state === 'lost') this.#losses++;
    // What was counted here stays: a server that comes and goes would give another limit each time.
    this.#known.clear();
    this.options.onStateChange?.(state, reason);
  }

  #remember(asks: readonly Ask[], verdicts: readonly Verdict[]): void {
    const now = this.#nowMs();
    verdicts.forEach((verdict, index) => {
      const ask = asks[index] as Ask;
      if (!verdict.refused || ask.shadow || verdict.retryAfterMs === Infinity) return;
      const { retryAfterMs, remaining } = verdict;
      const askAgainAt = now + Math.min(retryAfterMs, KNOWN_MS_MAX);
      const known = { policy: ask.policy, until: now + retryAfterMs, askAgainAt, cost: ask.cost, remaining };
      this.#known.set(this.#keyOf(ask), known, now);
    });
  }

  /** The refusal of a call with a key that cannot pass yet. Refunds elsewhere and another clock's pace are left aside. */
  #knownRefusal(asks: readonly Ask[]): Decision | undefined {
    const now = this.#nowMs();
    const verdicts: Verdict[] = [];
    for (const { policy, shadow, cost, key } of asks) {
      if (shadow) continue;
      const known = this.#known.peek(this.#keyOf({ policy, shadow, cost, key }));
      if (known === undefined || known.askAgainAt <= now || cost !== known.cost || policy !== known.policy) continue;
      const retryAfterMs = known.until - now;
      verdicts.push({ policy, shadow, refused: true, remaining: known.remaining, retryAfterMs, resetMs: retryAfterMs });
    }
    const refusal = refusalOf(verdicts, 'store');
    if (refusal) this.#knownRefusals++;
    return refusal;
  }

  #decideByMode(asks: readonly Ask[]): Decision {
    const local: Ask[] = [];
    let closed: Ask | undefined;
    for (const ask of asks) {
      const mode = ask.policy.onStoreLoss;
      this.#byMode[mode]++;
      if (mode === 'local') local.push(ask);
      else if (mode === 'closed' && !ask.shadow) closed ??= ask;
    }
    if (closed === undefined) return this.#local.decide(local);
    const retryAfterMs = this.options.probeEveryMs ?? 1_000;
    return { allowed: false, reason: 'store_lost', by: 'mode', verdicts: [], policy: closed.policy, retryAfterMs };
  }
}

class NoAnswer extends Error {}
