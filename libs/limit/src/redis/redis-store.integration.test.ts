import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { redisMissing, startRedis, type TestRedis } from '@sluice/testing';
import {
  compilePolicies,
  createMemoryStore,
  openRedisStore,
  type Ask,
  type CompiledPolicy,
  type Debit,
  type Decision,
  type Policy,
  type RedisStore,
  type RedisStoreOptions,
} from '../index.js';
import { calls, declaredInWindow, mostInAnyWindow, policies } from '../trials/trailing-window.fixture.js';

function compiled(policy: Partial<Policy>): CompiledPolicy {
  const defaults: Policy = { name: 'p', dimensions: ['ip'], algorithm: 'sliding_window', limit: 3, windowMs: 60_000 };
  return compilePolicies([{ ...defaults, ...policy }])[0] as CompiledPolicy;
}

const ask = (policy: CompiledPolicy, key = 'a', cost = policy.cost): Ask => ({
  policy,
  key,
  cost,
  shadow: policy.shadow,
});
const admitted = (decisions: readonly Decision[]) => decisions.filter((decision) => decision.allowed).length;
const waitsUs = (decision: Decision) => decision.verdicts.map((verdict) => Math.round(verdict.retryAfterMs * 1000));
const repeat = <T>(times: number, make: (index: number) => T): T[] => Array.from({ length: times }, (_, i) => make(i));

describe.skipIf(redisMissing)(`on a Redis${redisMissing ? ` (${redisMissing})` : ''}`, () => {
  let redis: TestRedis;
  let admin: Redis;
  const open: RedisStore[] = [];
  /** Buckets of each test's own. */
  let prefixes = 0;

  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((store) => store.close()));
  });

  async function start(options: RedisStoreOptions = {}): Promise<RedisStore> {
    // A busy machine does not decide a test: only what is lost for long is lost.
    const patient = { keyPrefix: `{test${prefixes++}}`, answerTimeoutMs: 10_000 };
    const store = await openRedisStore(redis.url, { ...patient, ...options });
    open.push(store);
    return store;
  }

  test('in any trailing window no more than declared is admitted, and the memory store decides the same', async () => {
    const time = { us: 1_700_000_000_000_000 };
    const clock = () => time.us;
    let run = 0;
    const shared = await start({ clock });
    await fc.assert(
      fc.asyncProperty(
        policies().chain((policy) => fc.tuple(fc.constant(policy), calls(policy))),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 10 }),
        fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000 })),
        async ([declared, sequence], refunds, late) => {
          run++;
          const memory = createMemoryStore({ clock });
          const policy = compiled(declared);
          const passed: { at: number; cost: number }[][] = [[], []];
          for (const [index, call] of sequence.entries()) {
            time.us += call.afterUs;
            const asks = [ask(policy, `${run}/${call.key}`, call.cost)];
            const peeked = await shared.peek(asks);
            expect(peeked).toEqual(memory.peek(asks));
            const decision = await shared.decide(asks);
            const there = memory.decide(asks);
            expect(decision.allowed).toBe(there.allowed);
            // A known refusal has its wait alone, by the same clock.
            expect(waitsUs(decision)).toEqual(waitsUs(there));
            if (decision.allowed) expect(decision.verdicts).toEqual(there.verdicts);
            if (decision.allowed) passed[call.key]?.push({ at: time.us, cost: call.cost });
            if (decision.allowed && there.allowed && refunds.includes(index)) {
              passed[call.key]?.pop();
              time.us += late;
              shared.refund(decision);
              memory.refund(there);
            }
          }
          if (declared.algorithm === 'token_bucket' && refunds.length > 0) return;
          for (const key of passed) {
            expect(mostInAnyWindow(key, policy.windowUs)).toBeLessThanOrEqual(declaredInWindow(declared));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a clock that goes back: both stores still agree, and nothing is blocked for longer than a window', async () => {
    const time = { us: 1_700_000_000_000_000 };
    const clock = () => time.us;
    const shared = await start({ clock });
    const memory = createMemoryStore({ clock });
    const asks = (['sliding_window', 'token_bucket'] as const).map((algorithm) =>
      ask(compiled({ name: algorithm, algorithm })),
    );
    for (let i = 0; i < 3; i++) expect(await shared.decide(asks)).toEqual(memory.decide(asks));
    time.us -= 3_600_000_000;
    expect(await shared.peek(asks)).toEqual(memory.peek(asks));
    for (const verdict of await shared.peek(asks)) expect(verdict.retryAfterMs).toBeLessThanOrEqual(60_000);
  });

  test('two stores on one Redis are one limit, by the clock of the server', async () => {
    const keyPrefix = '{shared}';
    const [first, second] = [await start({ keyPrefix }), await start({ keyPrefix })];
    const asks = [ask(compiled({ limit: 100 })), ask(compiled({ name: 'b', algorithm: 'token_bucket', limit: 1000 }))];
    const decisions = await Promise.all(repeat(300, (i) => (i % 2 ? first : second).decide(asks)));
    expect(admitted(decisions)).toBe(100);
  });

  test('one refuses: no other is debited, and the longest wait blocks', async () => {
    const store = await start();
    const asks = [
      ask(compiled({ name: 'short', limit: 2, windowMs: 5_000 })),
      ask(compiled({ name: 'long', limit: 2 })),
      ask(compiled({ name: 'wide', limit: 10, algorithm: 'token_bucket' })),
      ask(compiled({ name: 'trial', limit: 1, shadow: true })),
    ];
    const decisions = await Promise.all(repeat(5, () => store.decide(asks)));
    expect(admitted(decisions)).toBe(2);
    expect(decisions[4]).toMatchObject({ allowed: false, blockedBy: { policy: { name: 'long' } } });
    expect(decisions[1]?.verdicts[3]).toMatchObject({ shadow: true, refused: true });
    expect((await store.peek(asks)).map((verdict) => verdict.remaining)).toEqual([0, 0, 8, 0]);
  });

  test('the calls of a tick go in one script, and a known refusal asks nobody', async () => {
    const store = await start();
    const asks = [ask(compiled({ limit: 10 }))];
    const decisions = await Promise.all(repeat(40, () => store.decide(asks)));
    expect(admitted(decisions)).toBe(10);
    expect(store.stats).toMatchObject({ scripts: 1, decided: 40 });
    expect(store.decide(asks)).not.toBeInstanceOf(Promise);
    expect(store.decide(asks)).toMatchObject({ allowed: false, blockedBy: { refused: true } });
    expect(store.stats).toMatchObject({ scripts: 1, knownRefusals: 2 });
  });

  test('waiting as told succeeds', async () => {
    const store = await start();
    const asks = [ask(compiled({ limit: 2, windowMs: 1500 })), ask(compiled({ name: 'b', algorithm: 'token_bucket' }))];
    await store.decide(asks);
    await store.decide(asks);
    const refusal = await store.decide(asks);
    if (refusal.allowed || refusal.reason !== 'over_limit') throw new Error('expected a refusal');
    await new Promise((resolve) => setTimeout(resolve, Math.ceil(refusal.blockedBy.retryAfterMs) + 1));
    expect((await store.decide(asks)).allowed).toBe(true);
  });

  test('every key expires', async () => {
    const keyPrefix = '{expiry}';
    const store = await start({ keyPrefix });
    const asks = [ask(compiled({ limit: 5 })), ask(compiled({ name: 'b', algorithm: 'token_bucket', limit: 5 }))];
    const [first] = await Promise.all(repeat(9, () => store.decide(asks)));
    store.refund(first as Debit);
    await store.peek(asks);
    const keys = await admin.keys(`${keyPrefix}*`);
    expect(keys.length).toBeGreaterThan(2);
    for (const key of keys) expect(await admin.pttl(key)).toSatisfy((ttl: number) => ttl > 0 && ttl <= 61_000);
  });

  test('a refund after its window gives nobody the units of others', async () => {
    const time = { us: 1_700_000_000_000_000 };
    const store = await start({ clock: () => time.us });
    for (const algorithm of ['sliding_window', 'token_bucket'] as const) {
      const asks = [ask(compiled({ name: algorithm, algorithm }))];
      const first = await store.decide(asks);
      time.us += 60_000_000;
      for (let i = 0; i < 3; i++) expect((await store.decide(asks)).allowed).toBe(true);
      store.refund(first as Debit);
      expect((await store.peek(asks))[0]).toMatchObject({ refused: true, remaining: 0 });
    }
  });

  test('a raised limit reaches who was refused before at once, and a deleted key within a second', async () => {
    const keyPrefix = '{told}';
    const store = await start({ keyPrefix });
    const low = [ask(compiled({ limit: 1 }))];
    const raised = [ask(compiled({ limit: 2 }))];
    expect([(await store.decide(low)).allowed, (await store.decide(low)).allowed]).toEqual([true, false]);
    expect((await store.decide(raised)).allowed).toBe(true);
    expect((await store.decide(raised)).allowed).toBe(false);
    await admin.del(await admin.keys(`${keyPrefix}*`));
    const deleted = performance.now();
    await vi.waitFor(async () => expect((await store.decide(raised)).allowed).toBe(true), {
      timeout: 10_000,
      interval: 50,
    });
    // The wait that was told is a minute.
    expect(performance.now() - deleted).toBeLessThan(10_000);
    expect(store.stats.knownRefusals).toBeGreaterThan(0);
  });

  test('hundreds of policies on each of many calls, and thousands on one', async () => {
    const store = await start();
    const many = (count: number) =>
      compilePolicies(
        repeat(count, (index) => ({
          name: `p${index}`,
          dimensions: ['ip'] as const,
          algorithm: 'sliding_window' as const,
          limit: 100,
          windowMs: 60_000,
        })),
      ).map((policy) => ask(policy));
    const wide = many(130);
    const decisions = await Promise.all(
      repeat(64, (index) => store.decide(wide.map((one) => ({ ...one, key: `caller ${index}` })))),
    );
    expect(decisions.every(({ allowed, by }) => allowed && by === 'store')).toBe(true);
    expect(await store.decide(many(9_000))).toMatchObject({ allowed: true, by: 'store' });
    expect(store.stats.errors).toBe(0);
  });

  test('a server that forgot the script gets it again', async () => {
    const store = await start();
    const asks = [ask(compiled({}))];
    await store.decide(asks);
    await admin.script('FLUSH');
    expect(await store.decide(asks)).toMatchObject({ allowed: true, by: 'store' });
  });

  test('keys of users may hold anything', async () => {
    const store = await start();
    const keys = ['', '{}', '}{', 'ü\u0000\r\n', 'a'.repeat(2_000)];
    const decisions = await Promise.all(keys.map((key) => store.decide([ask(compiled({ limit: 1 }), key)])));
    expect(admitted(decisions)).toBe(5);
  });
});

describe.skipIf(redisMissing)(`a Redis that is lost${redisMissing ? ` (${redisMissing})` : ''}`, () => {
  let redis: TestRedis;
  let store: RedisStore | undefined;
  const changes: string[] = [];
  const modes = compilePolicies([
    { name: 'local', dimensions: ['ip'], algorithm: 'sliding_window', limit: 3, windowMs: 60_000 },
    { name: 'open', dimensions: ['ip'], algorithm: 'sliding_window', limit: 3, windowMs: 60_000, onStoreLoss: 'open' },
    {
      name: 'closed',
      dimensions: ['ip'],
      algorithm: 'sliding_window',
      limit: 3,
      windowMs: 60_000,
      onStoreLoss: 'closed',
    },
  ]);
  const [local, openly, closed] = modes.map((policy) => [ask(policy)]) as [Ask[], Ask[], Ask[]];

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());
  afterEach(async () => {
    await store?.close();
    changes.length = 0;
  });

  async function start(): Promise<RedisStore> {
    store = await openRedisStore(redis.url, { onStateChange: (state) => changes.push(state) });
    return store;
  }

  /** How long the slowest of many calls waits for its decision, in ms of this process's own clock. */
  async function slowest(asked: RedisStore, asks: readonly Ask[]): Promise<{ ms: number; decisions: Decision[] }> {
    const waits: number[] = [];
    const decisions = await Promise.all(
      repeat(50, async () => {
        const start = performance.now();
        const decision = await asked.decide(asks);
        waits.push(performance.now() - start);
        return decision;
      }),
    );
    return { ms: Math.max(...waits), decisions };
  }

  const back = (asked: RedisStore) =>
    vi.waitFor(() => expect(asked.stats.state).toBe('up'), { timeout: 15_000, interval: 20 });

  test('paused: each policy does as declared, in time; it comes back by itself', async () => {
    const lost = await start();
    redis.pause();
    try {
      const first = await slowest(lost, local);
      // 50 ms and what a busy machine adds to any timer.
      expect(first.ms).toBeLessThan(150);
      expect(first.decisions.every((decision) => decision.by === 'mode')).toBe(true);
      expect(admitted(first.decisions)).toBe(3);
      await slowest(lost, local);
      await slowest(lost, local);
      expect(lost.stats.state).toBe('lost');
      expect(lost.decide(openly)).toMatchObject({ allowed: true, by: 'mode', verdicts: [] });
      expect(lost.decide(closed)).toMatchObject({ allowed: false, reason: 'store_lost' });
      expect(lost.stats.byMode).toMatchObject({ open: 1, closed: 1 });
      // While it is lost nobody waits: decisions come without a promise, and nothing is sent but probes.
      const { scripts } = lost.stats;
      expect(repeat(100, () => lost.decide(local)).every((decision) => !(decision instanceof Promise))).toBe(true);
      expect(lost.stats.scripts).toBe(scripts);
    } finally {
      redis.resume();
    }
    await back(lost);
    expect(await lost.decide([ask(modes[0] as CompiledPolicy, 'after')])).toMatchObject({ allowed: true, by: 'store' });
    expect(changes).toEqual(['lost', 'up']);
  });

  test('one that comes and goes gives each process one more limit in a window, not one each time', async () => {
    const lost = await start();
    let admittedHere = 0;
    for (let round = 0; round < 3; round++) {
      redis.pause();
      try {
        await vi.waitFor(
          async () => {
            const decisions = await Promise.all(repeat(10, () => lost.decide(local)));
            admittedHere += decisions.filter(({ allowed, by }) => allowed && by === 'mode').length;
            expect(lost.stats.state).toBe('lost');
          },
          { timeout: 15_000, interval: 20 },
        );
      } finally {
        redis.resume();
      }
      await back(lost);
    }
    expect(lost.stats.losses).toBeGreaterThanOrEqual(3);
    expect(admittedHere).toBe(3);
  });

  test('killed and restarted under load: every call is decided, one line each way', async () => {
    const lost = await start();
    const wide = [ask(compiled({ name: 'wide', limit: 1_000_000 }))];
    const ending = new AbortController();
    const counts = { store: 0, mode: 0, refused: 0 };
    const load = repeat(20, async () => {
      while (!ending.signal.aborted) {
        const decision = await lost.decide(wide);
        counts[decision.by]++;
        if (!decision.allowed) counts.refused++;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    await vi.waitFor(() => expect(counts.store).toBeGreaterThan(200));
    await redis.kill();
    await vi.waitFor(() => expect(counts.mode).toBeGreaterThan(200), { timeout: 10_000 });
    expect(lost.stats.state).toBe('lost');
    await redis.restart();
    await back(lost);
    const { store: before } = counts;
    await vi.waitFor(() => expect(counts.store).toBeGreaterThan(before + 200), { timeout: 10_000 });
    ending.abort();
    await Promise.all(load);
    expect(counts.refused).toBe(0);
    expect(changes).toEqual(['lost', 'up']);
    expect(lost.stats.losses).toBe(1);
  });

  test('can be left while it is gone', async () => {
    const lost = await start();
    await redis.kill();
    await vi.waitFor(() => expect(lost.stats.state).toBe('lost'));
    for (let attempt = 0; attempt < 2; attempt++) {
      const gone = await openRedisStore(redis.url);
      await new Promise((resolve) => setTimeout(resolve, 40 * attempt));
      await gone.close();
    }
    await lost.close();
    await redis.restart();
  });

  test('not there at the start: the declared mode, until it comes', async () => {
    await redis.kill();
    const lost = await start();
    expect(lost.stats.state).toBe('lost');
    expect(lost.decide(local)).toMatchObject({ allowed: true, by: 'mode' });
    await redis.restart();
    await back(lost);
    expect(await lost.decide(local)).toMatchObject({ allowed: true, by: 'store' });
  });

  test('a server that refuses writes is lost too', async () => {
    const lost = await start();
    const admin = new Redis(redis.url);
    await admin.config('SET', 'maxmemory', '1');
    const decisions: Decision[] = [];
    for (let i = 0; i < 4; i++) decisions.push(await lost.decide([ask(modes[0] as CompiledPolicy, 'full')]));
    expect(decisions.every((decision) => decision.by === 'mode')).toBe(true);
    expect(lost.stats.state).toBe('lost');
    await admin.config('SET', 'maxmemory', '0');
    await back(lost);
    admin.disconnect();
  });
});
