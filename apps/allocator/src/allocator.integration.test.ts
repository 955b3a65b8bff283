import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admin, alice, AllocatorSystem, failure } from './replicas.fixture.js';

describe('the allocator over gRPC', () => {
  let system: AllocatorSystem;

  beforeAll(async () => {
    system = await AllocatorSystem.start(2, { NODES: 'a:100,b:50,c:200' });
  });
  afterAll(() => system.stop());

  it('allocates, settles, extends and frees', async () => {
    const request = { request_id: 'first', token_count: 40, ttl_seconds: 60 };
    const allocated = await system.client(0).call('allocate', request);
    expect(allocated).toMatchObject({
      request_id: 'first',
      node_id: 'b',
      token_count: '40',
      state: 'ALLOCATED',
      strategy: 'best',
    });
    expect(allocated.expires_at).not.toBeNull();
    expect(await system.client(1).call('allocate', request)).toEqual(allocated);
    const extended = await system.client(1).call('extend', { request_id: 'first', ttl_seconds: 600 });
    expect(Number(extended.expires_at?.seconds)).toBeGreaterThan(Number(allocated.expires_at?.seconds) + 500);
    const settled = await system.client(0).call('settle', { request_id: 'first', token_count: 15 });
    expect(settled).toMatchObject({ state: 'SETTLED', settled: '15', expires_at: null });
    expect(await system.client(1).call('getAllocation', { request_id: 'first' })).toEqual(settled);
    const usage = await system.client(0).call<{ used: string; capacity: string }>('getUsage', {});
    expect(usage).toMatchObject({ used: '15', capacity: '350', remaining: '335' });
    expect(await system.client(0).call('free', { request_id: 'first' })).toMatchObject({ state: 'FREED' });
    expect(await system.client(0).call('free', { request_id: 'first' })).toMatchObject({ state: 'FREED' });
    expect(await system.client(0).call('getUsage', {})).toMatchObject({ used: '0' });
  });

  it('refuses by name', async () => {
    const allocate = (token_count: unknown, id = 'x') =>
      system.client().call('allocate', { request_id: id, token_count });
    expect((await failure(allocate(0))).details).toEqual({ field: 'token_count' });
    expect((await failure(allocate(-1))).code).toBe('INVALID_ARGUMENT');
    expect((await failure(allocate(1, ''))).details).toEqual({ field: 'request_id' });
    const exhausted = await failure(allocate('9223372036854775807'));
    expect(exhausted.code).toBe('BUDGET_EXHAUSTED');
    expect(exhausted.details).toMatchObject({
      blocked_by: 'budget',
      requested: '9223372036854775807',
      largest_remaining: '200',
    });
    expect((await failure(system.client().call('free', { request_id: 'nobody' }))).code).toBe('NOT_FOUND');
    expect((await failure(system.client().call('drainNode', { node_id: 'a' }, alice))).code).toBe('PERMISSION_DENIED');
    expect((await failure(system.client().call('drainNode', { node_id: 'zz' }, admin))).code).toBe('NOT_FOUND');
  });

  it("keeps nodes and the strategy from another tenant's administrators", async () => {
    const other = { ...admin, tenant: 'other' };
    const changes = {
      addNode: { node_id: 'theirs', capacity: 1 },
      resizeNode: { node_id: 'a', capacity: 1 },
      drainNode: { node_id: 'a' },
      undrainNode: { node_id: 'a' },
      setStrategy: { strategy: 'largest' },
    };
    const before = await system.client().call('getUsage', {}, admin);
    for (const [method, request] of Object.entries(changes)) {
      expect((await failure(system.client().call(method, request, other))).code).toBe('PERMISSION_DENIED');
    }
    expect(await system.client().call('getUsage', {}, admin)).toEqual(before);
  });
});
