import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort, redisMissing, startRedis, type TestRedis } from '@sluice/testing';
import { compilePolicies, openRedisStore, type Ask, type RedisStore } from '../index.js';

const run = promisify(execFile);
const policies = compilePolicies([
  { name: 'ip', dimensions: ['ip'], algorithm: 'sliding_window', limit: 50, windowMs: 600_000 },
  { name: 'user', dimensions: ['user'], algorithm: 'token_bucket', limit: 500, windowMs: 600_000 },
  { name: 'tenant', dimensions: ['tenant'], algorithm: 'sliding_window', limit: 1000, windowMs: 600_000 },
]);
const asks = policies.map((policy): Ask => ({ policy, key: `${policy.name}-1`, cost: 1, shadow: false }));
const reason = redisMissing ? ` (${redisMissing})` : '';

async function startCluster(): Promise<TestRedis[]> {
  const nodes: TestRedis[] = [];
  while (nodes.length < 6) nodes.push(await startNode());
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes']);
  for (const { url } of nodes) await replicated(url);
  return nodes;
}

/** A second port, for the cluster's own bus, may be taken between choosing and using it: then with another one. */
async function startNode(attempts = 5): Promise<TestRedis> {
  const busPort = String(await freePort());
  const cluster = ['--cluster-enabled', 'yes', '--cluster-port', busPort];
  const failover = ['--cluster-node-timeout', '1000', '--cluster-replica-validity-factor', '0'];
  try {
    return await startRedis([...cluster, ...failover, ...AT_ONCE]);
  } catch (error) {
    if (attempts === 1) throw error;
    return startNode(attempts - 1);
  }
}

/** Replicas get their first copy without the delay that waits for further replicas. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0'];

/** Waits until a server is a master, or a replica that has its master's data. */
async function replicated(url: string): Promise<void> {
  const admin = new Redis(url);
  try {
    await vi.waitFor(
      async () => {
        const info = await admin.info('replication');
        expect(info).toMatch(/role:master[^]*state=online|master_link_status:up/);
      },
      { timeout: 30_000, interval: 50 },
    );
  } finally {
    admin.disconnect();
  }
}

describe.skipIf(redisMissing)(`a Redis Cluster of six${reason}`, () => {
  let nodes: TestRedis[] = [];
  const stores: RedisStore[] = [];

  beforeAll(async () => {
    nodes = await startCluster();
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await Promise.all(nodes.map((node) => node.stop()));
  });

  test('two stores are one limit, and it goes on when the master of its slot is killed', async () => {
    const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
    const changes: string[] = [];
    const options = { answerTimeoutMs: 500, onStateChange: (state: string) => changes.push(state) };
    await vi.waitFor(
      async () => {
        const store = await openRedisStore(url, options);
        stores.push(store);
        expect(store.stats.state).toBe('up');
      },
      { timeout: 30_000 },
    );
    const second = await openRedisStore(url, options);
    stores.push(second);
    const first = stores.at(-2) as RedisStore;

    const decisions = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => (i % 2 ? first : second).decide(asks)),
    );
    expect(decisions.every((decision) => decision.by === 'store')).toBe(true);
    expect(decisions.filter((decision) => decision.allowed)).toHaveLength(50);
    expect((await first.peek(asks)).map((verdict) => verdict.remaining)).toEqual([0, 450, 950]);

    const masterPort = await masterOf('{sluice:limit}:x', url);
    await nodes.find(({ port }) => port === masterPort)?.kill();
    const user = asks[1] as Ask;
    await vi.waitFor(async () => expect((await first.decide([user])).by).toBe('mode'), {
      timeout: 10_000,
      interval: 5,
    });
    await vi.waitFor(async () => expect((await first.decide([user])).by).toBe('store'), { timeout: 30_000 });
    // The replica knew the buckets.
    expect((await first.peek(asks))[0]).toMatchObject({ refused: true });
  });
});

/** The port of the node that holds a key's slot. */
async function masterOf(key: string, url: string): Promise<number> {
  const hosts = url.replace(/^.*\/\//, '').split(',');
  const cluster = new Cluster(hosts);
  try {
    const slot = await cluster.cluster('KEYSLOT', key);
    const ranges = (await cluster.cluster('SLOTS')) as unknown as [number, number, [string, number]][];
    const range = ranges.find(([from, to]) => from <= slot && slot <= to);
    return range?.[2][1] as number;
  } finally {
    cluster.disconnect();
  }
}

describe.skipIf(redisMissing)(`a Redis found by Sentinel${reason}`, () => {
  const servers: TestRedis[] = [];
  let sentinel: ChildProcess | undefined;
  let store: RedisStore | undefined;

  afterAll(async () => {
    await store?.close();
    sentinel?.kill();
    await Promise.all(servers.map((server) => server.stop()));
  });

  test('the store follows the master to the replica', async () => {
    const master = await startRedis(AT_ONCE);
    const replica = await startRedis(['--replicaof', `127.0.0.1 ${master.port}`]);
    servers.push(master, replica);
    await replicated(master.url);
    const port = await freePort();
    const configFile = join(mkdtempSync(join(tmpdir(), 'sluice-sentinel-')), 'sentinel.conf');
    writeFileSync(
      configFile,
      `port ${port}
bind 127.0.0.1
sentinel monitor main 127.0.0.1 ${master.port} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 2000
`,
    );
    sentinel = spawn('redis-server', [configFile, '--sentinel'], { stdio: 'ignore' });
    const admin = new Redis(port);
    admin.on('error', () => undefined);
    await vi.waitFor(
      async () => expect(((await admin.call('SENTINEL', 'REPLICAS', 'main')) as unknown[]).length).toBe(1),
      { timeout: 30_000, interval: 100 },
    );
    admin.disconnect();

    store = await openRedisStore(`redis+sentinel://127.0.0.1:${port}/main`, { answerTimeoutMs: 500 });
    const followed = store;
    for (let i = 0; i < 3; i++) expect((await followed.decide(asks)).by).toBe('store');
    const [here, there] = [new Redis(master.url), new Redis(replica.url)];
    const offset = async (redis: Redis) => /master_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1];
    await vi.waitFor(async () => expect(await offset(there)).toBe(await offset(here)), { timeout: 10_000 });
    here.disconnect();
    there.disconnect();
    await master.kill();
    await vi.waitFor(async () => expect((await followed.decide(asks)).by).toBe('mode'), {
      timeout: 10_000,
      interval: 5,
    });
    await vi.waitFor(async () => expect((await followed.decide(asks)).by).toBe('store'), {
      timeout: 40_000,
      interval: 50,
    });
    expect((await followed.peek(asks))[0]?.remaining).toBeLessThanOrEqual(46);
  });
});
