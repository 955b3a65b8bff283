import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { verify } from './ledger/verify.js';
import { admin, alice, AllocatorSystem, type Identity } from './replicas.fixture.js';

/** Two replicas for the tests of a file: each begins with nodes of its own, and must leave a budget that is right. */
export function twoReplicas(settings: Readonly<Record<string, string>> = {}) {
  let system: AllocatorSystem | undefined;
  let round = 0;
  const running = () => {
    if (!system) throw new Error('the replicas have not been started');
    return system;
  };
  beforeAll(async () => {
    system = await AllocatorSystem.start(2, {
      NODES: 'n1,n2,n3,n4',
      NODE_BUDGET: '500',
      LARGE_REQUEST_TOKENS: '300',
      ALLOC_LEASE_DEFAULT_SECONDS: '0',
      ...settings,
    });
  });
  afterAll(() => system?.stop());
  afterEach(async () => {
    const { rules } = await verify(running().pool);
    for (const rule of rules) expect(rule.breaches, rule.name).toEqual([]);
    await running().client().call('setStrategy', { strategy: 'best' }, admin);
  });

  return {
    get system() {
      return running();
    },
    /** A prefix for the request ids of one test. */
    get prefix() {
      return `r${round}-`;
    },
    /** Drains all nodes but these, which are new. */
    async nodes(capacities: Readonly<Record<string, number | string>>): Promise<void> {
      round++;
      for (const { node_id } of await running().sql<{ node_id: string }>(`select node_id from nodes where state = 1`)) {
        if (!(node_id in capacities)) await running().client().call('drainNode', { node_id }, admin);
      }
      for (const [node_id, capacity] of Object.entries(capacities)) {
        await running().client().call('addNode', { node_id, capacity }, admin);
      }
    },
    allocate: (id: string, token_count: unknown, client = 0, more: object = {}, identity: Identity = alice) =>
      running()
        .client(client)
        .call('allocate', { request_id: `r${round}-${id}`, token_count, ...more }, identity),
    free: (id: string, client = 0, identity: Identity = alice) =>
      running()
        .client(client)
        .call('free', { request_id: `r${round}-${id}` }, identity),
    usedOf: async (node: string) =>
      (await running().sql<{ used: string }>('select used::text from nodes where node_id = $1', [node]))[0]?.used,
    /** Runs `work` while another transaction holds nodes. What is to be awaited only after they are free goes into an object. */
    async holding<T>(node: string | string[], work: () => Promise<T>): Promise<T> {
      const client = new pg.Client({ connectionString: running().postgres.url, options: '-c search_path=budget' });
      await client.connect();
      try {
        await client.query('begin');
        await client.query('select 1 from nodes where node_id = any ($1) order by node_id for update', [[node].flat()]);
        const result = await work();
        await client.query('commit');
        return result;
      } finally {
        await client.end();
      }
    },
    /** Backends of batches that wait for a lock. */
    async waitingBatches(): Promise<number[]> {
      const rows = await running().sql<{ pid: number }>(
        `select pid from pg_stat_activity
           where datname = current_database() and application_name = 'sluice-allocator-batch' and wait_event_type = 'Lock'`,
      );
      return rows.map(({ pid }) => pid);
    },
  };
}
