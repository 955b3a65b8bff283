/**
 * One decision over four dimensions, beside rate-limiter-flexible asked for the same four: CPU time of this process per
 * call and calls a second, in alternating rounds, as medians; ratios of the same run. With a redis-server on PATH also
 * over Redis, 64 calls at once, as a gateway under load would ask, and how long calls wait when Redis is lost.
 *
 *   npx tsc -b libs/limit libs/testing && node libs/limit/src/limits.bench.ts
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterUnion, type RateLimiterAbstract } from 'rate-limiter-flexible';
import { redisMissing, startRedis } from '@sluice/testing';
import {
  compilePolicies,
  createMemoryStore,
  openRedisStore,
  type Ask,
  type LimitStore,
  type Policy,
} from '@sluice/limit';

interface Contestant {
  readonly name: string;
  /** Makes `calls` decisions. */
  run(calls: number): Promise<void>;
}

interface Row {
  readonly store: string;
  readonly name: string;
  readonly cpuMicrosPerCall: number;
  readonly callsPerSecond: number;
  /** Calls a second, as a multiple of rate-limiter-flexible's in the same run. */
  readonly ratio: number;
}

const ROUNDS = 7;
const LOSSES = 20;
const DIMENSIONS = ['user', 'ip', 'endpoint', 'tenant'] as const;
const LIMIT = 50_000_000;
const CALLERS = 1_000;
/** The values of the four dimensions of each caller: new strings, as a gateway reads them from a call. */
const callers = Array.from({ length: CALLERS }, (_, i) => [
  `user-${i}`,
  `10.0.${i >> 8}.${i & 255}`,
  'GET /me',
  `t-${i % 20}`,
]);

function asksOf(algorithm: Policy['algorithm']): Ask[][] {
  const policies = compilePolicies(
    DIMENSIONS.map((dimension) => ({
      name: dimension,
      dimensions: [dimension],
      algorithm,
      limit: LIMIT,
      windowMs: 60_000,
    })),
  );
  return callers.map((values) =>
    policies.map((policy, i) => ({ policy, key: values[i] as string, cost: 1, shadow: false })),
  );
}

function ours(name: string, store: LimitStore, algorithm: Policy['algorithm'], together: number): Contestant {
  const asks = asksOf(algorithm);
  return {
    name,
    async run(calls) {
      for (let done = 0; done < calls; done += together) {
        const waiting: unknown[] = [];
        for (let i = 0; i < together; i++) {
          const decision = store.decide(asks[(done + i) % CALLERS] as Ask[]);
          if (decision instanceof Promise) waiting.push(decision);
        }
        if (waiting.length > 0) await Promise.all(waiting);
      }
    },
  };
}

/** Four limiters asked at once, each with its own key. */
function theirs(name: string, limiters: RateLimiterAbstract[], together: number): Contestant {
  return {
    name,
    async run(calls) {
      for (let done = 0; done < calls; done += together) {
        const waiting: Promise<unknown>[] = [];
        for (let i = 0; i < together; i++) {
          const values = callers[(done + i) % CALLERS] as string[];
          waiting.push(Promise.all(limiters.map((limiter, dimension) => limiter.consume(values[dimension] as string))));
        }
        await Promise.all(waiting);
      }
    },
  };
}

/** Its own way to ask several at once; it has one key for all of them. */
function union(name: string, limiters: RateLimiterAbstract[], together: number): Contestant {
  const all = new RateLimiterUnion(...limiters);
  return {
    name,
    async run(calls) {
      for (let done = 0; done < calls; done += together) {
        const waiting: Promise<unknown>[] = [];
        for (let i = 0; i < together; i++)
          waiting.push(all.consume((callers[(done + i) % CALLERS] as string[])[0] as string));
        await Promise.all(waiting);
      }
    },
  };
}

async function compete(store: string, contestants: Contestant[], calls: number): Promise<Row[]> {
  const samples = contestants.map(() => ({ cpu: [] as number[], rate: [] as number[] }));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [index, contestant] of contestants.entries()) {
      const cpu = process.cpuUsage();
      const start = performance.now();
      await contestant.run(calls);
      const seconds = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      if (round === 0) continue;
      samples[index]?.cpu.push((user + system) / calls);
      samples[index]?.rate.push(calls / seconds);
    }
  }
  const rates = samples.map(({ rate }) => median(rate));
  const best = Math.max(...rates.filter((_, i) => contestants[i]?.name.startsWith('rate-limiter-flexible')));
  return contestants.map(({ name }, i) => ({
    store,
    name,
    cpuMicrosPerCall: Number(median(samples[i]?.cpu ?? []).toFixed(2)),
    callsPerSecond: Math.round(rates[i] as number),
    ratio: Number(((rates[i] as number) / best).toFixed(2)),
  }));
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

async function bench(): Promise<Row[]> {
  const theirMemory = () =>
    DIMENSIONS.map((keyPrefix) => new RateLimiterMemory({ keyPrefix, points: LIMIT, duration: 60 }));
  const rows = await compete(
    'memory',
    [
      ours('token_bucket', createMemoryStore(), 'token_bucket', 1),
      ours('sliding_window', createMemoryStore(), 'sliding_window', 1),
      theirs('rate-limiter-flexible', theirMemory(), 1),
      union('rate-limiter-flexible (union)', theirMemory(), 1),
    ],
    50_000,
  );
  if (redisMissing) return rows;
  const redis = await startRedis();
  const client = new Redis(redis.url, { enableAutoPipelining: true });
  const stores = [
    await openRedisStore(redis.url, { answerTimeoutMs: 5_000, keyPrefix: '{bucket}' }),
    await openRedisStore(redis.url, { answerTimeoutMs: 5_000, keyPrefix: '{window}' }),
  ] as const;
  try {
    const theirRedis = () =>
      DIMENSIONS.map(
        (keyPrefix) => new RateLimiterRedis({ storeClient: client, keyPrefix, points: LIMIT, duration: 60 }),
      );
    rows.push(
      ...(await compete(
        'Redis',
        [
          ours('token_bucket', stores[0], 'token_bucket', 64),
          ours('sliding_window', stores[1], 'sliding_window', 64),
          theirs('rate-limiter-flexible', theirRedis(), 64),
          union('rate-limiter-flexible (union)', theirRedis(), 64),
        ],
        6_400,
      )),
    );
  } finally {
    client.disconnect();
    await Promise.all(stores.map((store) => store.close()));
    await redis.stop();
  }
  return rows;
}

/** The longest that one of 50 callers waited for a decision while Redis was lost under load, in ms, for each of several losses. */
async function takeOver(lose: 'pause' | 'kill'): Promise<number[]> {
  const redis = await startRedis();
  const longest: number[] = [];
  try {
    for (let loss = 0; loss < LOSSES; loss++) {
      const store = await openRedisStore(redis.url);
      const asks = asksOf('sliding_window');
      let most = 0;
      let over = false;
      const callers = Array.from({ length: 50 }, async (_, caller) => {
        for (let call = caller; !over; call++) {
          const start = performance.now();
          await store.decide(asks[call % CALLERS] as Ask[]);
          most = Math.max(most, performance.now() - start);
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      await delay(200);
      most = 0;
      if (lose === 'pause') redis.pause();
      else await redis.kill();
      await delay(300);
      over = true;
      await Promise.all(callers);
      if (store.stats.state !== 'lost') throw new Error('Redis was not lost');
      longest.push(most);
      await store.close();
      if (lose === 'pause') redis.resume();
      else await redis.restart();
    }
  } finally {
    await redis.stop();
  }
  return longest;
}

console.table(await bench());
if (!redisMissing) {
  for (const lose of ['pause', 'kill'] as const) {
    const waits = (await takeOver(lose)).map((ms) => Math.round(ms));
    console.log(
      `Redis ${lose === 'pause' ? 'paused' : 'killed'} under load, longest wait for a decision: median ${median(waits)} ms, most ${Math.max(...waits)} ms of ${LOSSES} losses`,
    );
  }
}
