import pg from 'pg';
import { afterEach, beforeAll, afterAll, describe, expect, it, vi } from 'vitest';
import { verify } from './ledger/verify.js';
import { admin, alice, type AllocationMessage, AllocatorSystem, failure, type Identity } from './replicas.fixture.js';

/** "Budget" of what must hold, over gRPC, with two replicas on one database. */
describe('budget, two replicas', () => {
  let system: AllocatorSystem;
  let round = 0;
  /** A prefix for the request ids of one test. */
  let prefix = '';
  const CAPACITY = '500';

  beforeAll(async () => {
    system = await AllocatorSystem.start(2, {
      NODES: 'n1,n2,n3,n4',
      NODE_BUDGET: CAPACITY,
      LARGE_REQUEST_TOKENS: '300',
    });
  });
  afterAll(() => system.stop());

  /** Every test starts with other nodes, and ends with a budget that is right. */
  async function nodes(capacities: Readonly<Record<string, number | string>>): Promise<void> {
    prefix = `r${round++}-`;
    for (const { node_id } of await system.sql<{ node_id: string }>(`select node_id from nodes where state = 1`)) {
      if (!(node_id in capacities)) await system.client().call('drainNode', { node_id }, admin);
    }
    for (const [node_id, capacity] of Object.entries(capacities)) {
      await system.client().call('addNode', { node_id, capacity }, admin);
    }
  }
  afterEach(async () => {
    const { rules } = await verify(system.pool);
    for (const rule of rules) expect(rule.breaches, rule.name).toEqual([]);
    await system.client().call('setStrategy', { strategy: 'best' }, admin);
  });

  const allocate = (id: string, token_count: unknown, client = 0, more: object = {}, identity: Identity = alice) =>
    system.client(client).call('allocate', { request_id: prefix + id, token_count, ...more }, identity);
  const free = (id: string, client = 0, identity: Identity = alice) =>
    system.client(client).call('free', { request_id: prefix + id }, identity);
  const usedOf = async (node: string) =>
    (await system.sql<{ used: string }>('select used::text from nodes where node_id = $1', [node]))[0]?.used;

  it('grants exactly the capacity when twice as much is asked at once, and never more at any moment', async () => {
    await nodes({ 'a-1': 200, 'a-2': 300 });
    const watching = new AbortController();
    const moments: string[] = [];
    const watch = (async () => {
      while (!watching.signal.aborted) {
        const rows = await system.sql<{ bad: string }>(
          `select n.node_id as bad from nodes n where used > capacity or used < 0 or used <>
             (select coalesce(sum(case a.state when 1 then token_count when 2 then settled else 0 end), 0)
                from allocations a where a.node_id = n.node_id)`,
        );
        moments.push(...rows.map(({ bad }) => bad));
      }
    })();
    const results = await Promise.allSettled(
      Array.from({ length: 1000 }, (_, index) => allocate(`x${index}`, 1, index)),
    );
    watching.abort();
    await watch;
    expect(moments).toEqual([]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(500);
    const refused = results
      .filter((result) => result.status === 'rejected')
      .map(({ reason }) => reason as { code: string });
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['BUDGET_EXHAUSTED']));
    expect([await usedOf('a-1'), await usedOf('a-2')]).toEqual(['200', '300']);
  });

  it('debits one id once, however often it is asked for at the same moment', async () => {
    await nodes({ 'b-1': 1000 });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => allocate('same', 7, index)));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await usedOf('b-1')).toBe('7');
    expect((await failure(allocate('same', 8, 1))).code).toBe('IDEMPOTENCY_MISMATCH');
    expect((await failure(allocate('same', 7, 1, { ttl_seconds: 5 }))).code).toBe('IDEMPOTENCY_MISMATCH');
    expect(await usedOf('b-1')).toBe('7');
    const mixed = await Promise.allSettled(
      Array.from({ length: 100 }, (_, index) => allocate('mixed', 1 + (index % 2), index)),
    );
    expect(mixed.filter(({ status }) => status === 'fulfilled')).toHaveLength(50);
  });

  it('loses nothing when the connection of a batch dies before or after its commit', async () => {
    await nodes({ 'c-1': 1000 });
    const { pending } = await holding(system, 'c-1', async () => {
      const pending = allocate('before', 5);
      await vi.waitFor(async () => expect(await waitingBatches(system)).toHaveLength(1));
      const [pid] = await waitingBatches(system);
      await system.sql('select pg_terminate_backend($1)', [pid]);
      return { pending };
    });
    expect(await pending).toMatchObject({ node_id: 'c-1' });
    expect(await usedOf('c-1')).toBe('5');
    expect(await allocate('before', 5, 1)).toMatchObject({ node_id: 'c-1' });
    expect(await usedOf('c-1')).toBe('5');
    // The answer of a commit that nobody waits for any more: the deadline passed while the batch was under way.
    await holding(system, 'c-1', async () => {
      const late = await failure(
        system.client().call('allocate', { request_id: `${prefix}late`, token_count: 3 }, alice, 300),
      );
      expect(late.code).toMatch(/DEADLINE_EXCEEDED|gRPC 4/);
    });
    await vi.waitFor(async () => expect(await usedOf('c-1')).toBe('8'));
    expect(await allocate('late', 3, 1)).toMatchObject({ node_id: 'c-1', state: 'ALLOCATED' });
    expect(await usedOf('c-1')).toBe('8');
  });

  it('does not execute what is too late before it was sent', async () => {
    await nodes({ 'ca-1': 1000 });
    const held = [
      'ca-1',
      ...(await system.sql<{ node_id: string }>('select node_id from nodes')).map((row) => row.node_id),
    ];
    const { first } = await holding(system, held, async () => {
      // Both connections of the replica wait for the nodes; what comes now is not sent.
      const first = allocate('sent', 1);
      await vi.waitFor(async () => expect(await waitingBatches(system)).not.toHaveLength(0));
      const late = system.client().call('allocate', { request_id: `${prefix}dropped`, token_count: 1 }, alice, 200);
      expect((await failure(late)).code).toMatch(/DEADLINE_EXCEEDED|gRPC 4/);
      return { first };
    });
    await first;
    expect(await usedOf('ca-1')).toBe('1');
    expect((await failure(free('dropped'))).code).toBe('NOT_FOUND');
  });

  it('frees once, in whatever race', async () => {
    await nodes({ 'd-1': 100_000 });
    expect((await failure(free('unknown'))).code).toBe('NOT_FOUND');
    await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const id = `race${index}`;
        const frees = [0, 1].map((client) => free(id, client).catch((error: { code: string }) => error.code));
        const settle = system
          .client(index + 1)
          .call('settle', { request_id: prefix + id, token_count: 3 })
          .catch(() => 'lost');
        await Promise.all([allocate(id, 10, index), ...frees, settle]);
        await free(id, index);
      }),
    );
    expect(await usedOf('d-1')).toBe('0');
  });

  it('lets the end of a lease and a settlement race, and one of them wins', async () => {
    await nodes({ 'e-1': 100_000 });
    await Promise.all(Array.from({ length: 60 }, (_, index) => allocate(`l${index}`, 10, index, { ttl_seconds: 1 })));
    const [row] = await system.sql<{ left: number }>(
      `select extract(epoch from min(expires_at) - clock_timestamp())::float8 * 1000 as left from leases`,
    );
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, (row?.left ?? 0) - 15)));
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        system
          .client(index)
          .call('settle', { request_id: `${prefix}l${index}`, token_count: 4 })
          .then(
            () => 4,
            (error: { code: string; details: unknown }) => {
              expect(error).toMatchObject({ code: 'FAILED_PRECONDITION', details: { state: 'EXPIRED' } });
              return 0;
            },
          ),
      ),
    );
    const settled = answers.reduce((sum: number, held) => sum + held, 0);
    await vi.waitFor(async () => expect(await usedOf('e-1')).toBe(String(settled)), { timeout: 5000 });
    expect(await system.sql('select 1 from leases')).toEqual([]);
  });

  it('gives a lease back by itself, and tells when trying again can help', async () => {
    await nodes({ 'ea-1': 10 });
    await allocate('all', 10, 0, { ttl_seconds: 1 });
    const refused = await failure(allocate('more', 10, 1));
    expect(refused).toMatchObject({
      code: 'BUDGET_EXHAUSTED',
      details: { blocked_by: 'budget', requested: '10', largest_remaining: '0' },
    });
    const wait = refused.details['retry_after_ms'] as number;
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(1001);
    await new Promise((resolve) => setTimeout(resolve, wait));
    expect(await allocate('more', 10, 1)).toMatchObject({ node_id: 'ea-1' });
    expect(await system.client().call('getAllocation', { request_id: `${prefix}all` })).toMatchObject({
      state: 'EXPIRED',
    });
    expect((await failure(system.client().call('extend', { request_id: `${prefix}all`, ttl_seconds: 5 }))).code).toBe(
      'FAILED_PRECONDITION',
    );
    expect(await free('all')).toMatchObject({ state: 'EXPIRED' });
  });

  it('does not send anybody away to wait for a lease on a node that drains', async () => {
    await nodes({ 'eb-1': 10, 'eb-2': 20 });
    await allocate('drained', 10, 0, { ttl_seconds: 30 });
    await system.client().call('drainNode', { node_id: 'eb-1' }, admin);
    await allocate('kept', 15);
    expect((await failure(allocate('more', 10))).details).not.toHaveProperty('retry_after_ms');
    await allocate('short', 5, 0, { ttl_seconds: 600 });
    const { details } = await failure(allocate('more', 10));
    expect(details['retry_after_ms']).toBeGreaterThan(500_000);
  });

  it('keeps counts exact to the last of 63 bits, or refuses them by name', async () => {
    await nodes({ 'f-1': '9007199254740993' });
    expect(await allocate('odd', '9007199254740993')).toMatchObject({ token_count: '9007199254740993' });
    expect(await usedOf('f-1')).toBe('9007199254740993');
    await free('odd');
    for (const count of ['0', '-1', '-9223372036854775808']) {
      const refused = await failure(allocate('bad', count));
      expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'token_count' } });
    }
    expect((await failure(allocate('max', '9223372036854775807'))).code).toBe('BUDGET_EXHAUSTED');
    expect(
      (await failure(system.client().call('addNode', { node_id: 'f-2', capacity: '9223372036854775807' }, admin)))
        .details,
    ).toEqual({ field: 'capacity' });
    const [row] = await system.sql<{ left: string }>(
      'select (9223372036854775807 - sum(capacity))::text as left from nodes',
    );
    await system.client().call('addNode', { node_id: 'f-2', capacity: row?.left }, admin);
    expect(await allocate('huge', row?.left)).toMatchObject({ node_id: 'f-2', token_count: row?.left });
    expect(await free('huge')).toMatchObject({ token_count: row?.left });
    await system.client().call('resizeNode', { node_id: 'f-2', capacity: 1 }, admin);
  });

  it('chooses the stated node', async () => {
    await nodes({ 'g-1': 100, 'g-10': 100, 'g-2': 250, 'g-3': 400 });
    expect(await allocate('tie', 40)).toMatchObject({ node_id: 'g-1', strategy: 'best' });
    expect(await allocate('least', 60)).toMatchObject({ node_id: 'g-1' });
    expect(await allocate('next', 60)).toMatchObject({ node_id: 'g-10' });
    expect(await allocate('at-threshold', 300)).toMatchObject({ node_id: 'g-3', strategy: 'best' });
    await free('at-threshold');
    expect(await allocate('over', 301)).toMatchObject({ node_id: 'g-3', strategy: 'largest' });
    await system.client(1).call('setStrategy', { strategy: 'largest' }, admin);
    expect(await allocate('largest', 1, 0)).toMatchObject({ node_id: 'g-2', strategy: 'largest' });
    expect(await allocate('largest-again', 1, 1)).toMatchObject({ node_id: 'g-2', strategy: 'largest' });
  });

  it('passes over a locked node while another suffices, and waits when none does', async () => {
    await nodes({ 'h-1': 50, 'h-2': 100 });
    await holding(system, 'h-1', async () => {
      expect(await allocate('beside', 20)).toMatchObject({ node_id: 'h-2' });
      expect(await allocate('beside-too', 20, 1)).toMatchObject({ node_id: 'h-2' });
    });
    const waiting = await holding(system, ['h-1', 'h-2'], async () => {
      const pending = allocate('waits', 45);
      const both = allocate('waits-too', 45, 1);
      await vi.waitFor(async () => expect((await waitingBatches(system)).length).toBeGreaterThan(1));
      return { pending, both };
    });
    expect([(await waiting.pending).node_id, (await waiting.both).node_id].toSorted()).toEqual(['h-1', 'h-2']);
  });

  it('waits for the one locked node that suffices, while others go on', async () => {
    await nodes({ 'i-1': 10, 'i-2': 100 });
    const { large } = await holding(system, 'i-2', async () => {
      const pending = allocate('large', 80);
      await vi.waitFor(async () => expect(await waitingBatches(system)).toHaveLength(1));
      return { large: pending };
    });
    expect(await large).toMatchObject({ node_id: 'i-2' });
    expect(await allocate('small', 5)).toMatchObject({ node_id: 'i-1' });
  });

  it('drains, shrinks and grows', async () => {
    await nodes({ 'j-1': 100, 'j-2': 100 });
    await allocate('on-1', 80);
    await system.client().call('drainNode', { node_id: 'j-1' }, admin);
    expect(await allocate('elsewhere', 20, 1)).toMatchObject({ node_id: 'j-2' });
    expect((await failure(allocate('none', 90, 1))).details).toMatchObject({ largest_remaining: '80' });
    expect(await system.client().call('settle', { request_id: `${prefix}on-1`, token_count: 60 })).toMatchObject({
      settled: '60',
    });
    expect(await system.client(1).call('undrainNode', { node_id: 'j-1' }, admin)).toMatchObject({
      state: 'ACTIVE',
      remaining: '40',
    });
    const shrunk = await system.client().call('resizeNode', { node_id: 'j-1', capacity: 10 }, admin);
    expect(shrunk).toMatchObject({ capacity: '10', used: '60', remaining: '0' });
    expect(await allocate('after', 50)).toMatchObject({ node_id: 'j-2' });
    await free('on-1');
    expect(await usedOf('j-1')).toBe('0');
    expect(await allocate('fits', 10)).toMatchObject({ node_id: 'j-1' });
  });

  it('follows one strategy in every answer while it is flipped under load', async () => {
    await nodes({ 'k-1': 1_000_000, 'k-2': 2_000_000, 'k-3': 3_000_000 });
    const flipping = new AbortController();
    const flips = (async () => {
      for (let flip = 0; !flipping.signal.aborted; flip++) {
        await system.client(flip).call('setStrategy', { strategy: flip % 2 === 0 ? 'largest' : 'best' }, admin);
      }
    })();
    const answers: AllocationMessage[] = [];
    for (let wave = 0; wave < 10; wave++) {
      answers.push(
        ...(await Promise.all(Array.from({ length: 60 }, (_, index) => allocate(`w${wave}-${index}`, 1, index)))),
      );
    }
    flipping.abort();
    await flips;
    const chosen = new Set(answers.map(({ strategy, node_id }) => `${strategy} ${node_id}`));
    expect([...chosen].toSorted()).toEqual(['best k-1', 'largest k-3']);
  });

  it('belongs to its caller, and to services and administrators of the tenant', async () => {
    await nodes({ 'm-1': 100 });
    await allocate('mine', 10);
    const bob = { subject: 'bob', tenant: 'acme' };
    const stranger = { subject: 'alice', tenant: 'other' };
    for (const identity of [bob, stranger, { ...admin, tenant: 'other' }]) {
      expect((await failure(free('mine', 0, identity))).code).toBe('NOT_FOUND');
      const get = system.client(1).call('getAllocation', { request_id: `${prefix}mine` }, identity);
      expect((await failure(get)).code).toBe('NOT_FOUND');
    }
    expect((await failure(allocate('mine', 10, 0, {}, bob))).code).toBe('IDEMPOTENCY_MISMATCH');
    expect(await allocate('mine', 10, 0, {}, stranger)).toMatchObject({ node_id: 'm-1' });
    const service = { subject: 'postcard', tenant: 'acme', roles: 'service' };
    expect(await free('mine', 1, service)).toMatchObject({ state: 'FREED' });
    expect(await usedOf('m-1')).toBe('10');
  });

  it('answers a batch one by one', async () => {
    await nodes({ 'n-1': 100 });
    const requests = [
      { request_id: `${prefix}1`, token_count: 60 },
      { request_id: `${prefix}2`, token_count: 60 },
      { request_id: `${prefix}1`, token_count: 60 },
      { request_id: '', token_count: 60 },
      { request_id: `${prefix}1`, token_count: 61 },
    ];
    const { results } = await system
      .client()
      .call<{ results: { allocation?: AllocationMessage; refusal?: { code: string } }[] }>('batchAllocate', {
        requests,
      });
    expect(results.map((result) => result.allocation?.node_id ?? result.refusal?.code)).toEqual([
      'n-1',
      'BUDGET_EXHAUSTED',
      'n-1',
      'INVALID_ARGUMENT',
      'IDEMPOTENCY_MISMATCH',
    ]);
    expect((await failure(system.client().call('batchAllocate', { requests: [] }))).details).toEqual({
      field: 'requests',
    });
  });

  it('shows usage as it changes', async () => {
    await nodes({ 'o-1': 100 });
    const stream = system.client(1).stream('watchUsage', {});
    const seen: string[] = [];
    stream.on('data', (usage: { nodes: { node_id: string; used: string }[] }) => {
      seen.push(usage.nodes.find(({ node_id }) => node_id === 'o-1')?.used ?? '');
    });
    stream.on('error', () => undefined);
    await vi.waitFor(() => expect(seen).toEqual(['0']));
    await allocate('seen', 12);
    await vi.waitFor(() => expect(seen).toEqual(['0', '12']), { timeout: 5000 });
    stream.cancel();
  });
});

/** Runs `work` while another transaction holds nodes. What is to be awaited only after they are free goes into an object. */
async function holding<T>(system: AllocatorSystem, node: string | string[], work: () => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: system.postgres.url, options: '-c search_path=budget' });
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
}

/** Backends of batches that wait for a lock. */
async function waitingBatches(system: AllocatorSystem): Promise<number[]> {
  const rows = await system.sql<{ pid: number }>(
    `select pid from pg_stat_activity
       where datname = current_database() and application_name = 'sluice-allocator-batch' and wait_event_type = 'Lock'`,
  );
  return rows.map(({ pid }) => pid);
}
