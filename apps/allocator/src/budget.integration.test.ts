import { describe, expect, it, vi } from 'vitest';
import { admin, alice, type AllocationMessage, failure } from './replicas.fixture.js';
import { twoReplicas } from './two-replicas.fixture.js';

/** "Budget" of what must hold, over gRPC, with two replicas on one database; the choice of nodes is in nodes.integration.test.ts. */
describe('budget, two replicas', () => {
  const budget = twoReplicas();
  const { nodes, allocate, free, usedOf } = budget;

  it('grants exactly the capacity when twice as much is asked at once, and never more at any moment', async () => {
    await nodes({ 'a-1': 200, 'a-2': 300 });
    const watching = new AbortController();
    const moments: string[] = [];
    const watch = (async () => {
      while (!watching.signal.aborted) {
        const rows = await budget.system.sql<{ bad: string }>(
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
    const { pending } = await budget.holding('c-1', async () => {
      const pending = allocate('before', 5);
      await vi.waitFor(async () => expect(await budget.waitingBatches()).toHaveLength(1));
      const [pid] = await budget.waitingBatches();
      await budget.system.sql('select pg_terminate_backend($1)', [pid]);
      return { pending };
    });
    expect(await pending).toMatchObject({ node_id: 'c-1' });
    expect(await usedOf('c-1')).toBe('5');
    expect(await allocate('before', 5, 1)).toMatchObject({ node_id: 'c-1' });
    expect(await usedOf('c-1')).toBe('5');
    // The answer of a commit that nobody waits for any more: the deadline passed while the batch was under way.
    await budget.holding('c-1', async () => {
      const late = await failure(
        budget.system.client().call('allocate', { request_id: `${budget.prefix}late`, token_count: 3 }, alice, 300),
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
      ...(await budget.system.sql<{ node_id: string }>('select node_id from nodes')).map((row) => row.node_id),
    ];
    const { first } = await budget.holding(held, async () => {
      // The batch under way waits for the nodes; what comes now is not sent.
      const first = allocate('sent', 1);
      await vi.waitFor(async () => expect(await budget.waitingBatches()).not.toHaveLength(0));
      const late = budget.system
        .client()
        .call('allocate', { request_id: `${budget.prefix}dropped`, token_count: 1 }, alice, 200);
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
        const settle = budget.system
          .client(index + 1)
          .call('settle', { request_id: budget.prefix + id, token_count: 3 })
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
    const [row] = await budget.system.sql<{ left: number }>(
      `select extract(epoch from min(expires_at) - clock_timestamp())::float8 * 1000 as left from leases`,
    );
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, (row?.left ?? 0) - 15)));
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        budget.system
          .client(index)
          .call('settle', { request_id: `${budget.prefix}l${index}`, token_count: 4 })
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
    expect(await budget.system.sql('select 1 from leases')).toEqual([]);
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
    expect(await budget.system.client().call('getAllocation', { request_id: `${budget.prefix}all` })).toMatchObject({
      state: 'EXPIRED',
    });
    expect(
      (await failure(budget.system.client().call('extend', { request_id: `${budget.prefix}all`, ttl_seconds: 5 })))
        .code,
    ).toBe('FAILED_PRECONDITION');
    expect(await free('all')).toMatchObject({ state: 'EXPIRED' });
  });

  it('does not send anybody away to wait for a lease on a node that drains', async () => {
    await nodes({ 'eb-1': 10, 'eb-2': 20 });
    await allocate('drained', 10, 0, { ttl_seconds: 30 });
    await budget.system.client().call('drainNode', { node_id: 'eb-1' }, admin);
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
      (
        await failure(
          budget.system.client().call('addNode', { node_id: 'f-2', capacity: '9223372036854775807' }, admin),
        )
      ).details,
    ).toEqual({ field: 'capacity' });
    const [row] = await budget.system.sql<{ left: string }>(
      'select (9223372036854775807 - sum(capacity))::text as left from nodes',
    );
    await budget.system.client().call('addNode', { node_id: 'f-2', capacity: row?.left }, admin);
    expect(await allocate('huge', row?.left)).toMatchObject({ node_id: 'f-2', token_count: row?.left });
    expect(await free('huge')).toMatchObject({ token_count: row?.left });
    await budget.system.client().call('resizeNode', { node_id: 'f-2', capacity: 1 }, admin);
  });

  it('belongs to its caller, and to services and administrators of the tenant', async () => {
    await nodes({ 'm-1': 100 });
    await allocate('mine', 10);
    const bob = { subject: 'bob', tenant: 'acme' };
    const stranger = { subject: 'alice', tenant: 'other' };
    for (const identity of [bob, stranger, { ...admin, tenant: 'other' }]) {
      expect((await failure(free('mine', 0, identity))).code).toBe('NOT_FOUND');
      const get = budget.system.client(1).call('getAllocation', { request_id: `${budget.prefix}mine` }, identity);
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
      { request_id: `${budget.prefix}1`, token_count: 60 },
      { request_id: `${budget.prefix}2`, token_count: 60 },
      { request_id: `${budget.prefix}1`, token_count: 60 },
      { request_id: '', token_count: 60 },
      { request_id: `${budget.prefix}1`, token_count: 61 },
    ];
    const { results } = await budget.system
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
    expect((await failure(budget.system.client().call('batchAllocate', { requests: [] }))).details).toEqual({
      field: 'requests',
    });
  });
});
