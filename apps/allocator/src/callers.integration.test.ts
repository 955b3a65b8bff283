import { describe, expect, it, vi } from 'vitest';
import { verify } from './ledger/verify.js';
import { admin, alice, type AllocationMessage, failure, type Identity, startReplica } from './replicas.fixture.js';
import { twoReplicas } from './two-replicas.fixture.js';

const guest: Identity = { subject: 'g1', tenant: 'acme', guest: 'true' };
const bob: Identity = { subject: 'bob', tenant: 'acme' };
const elsewhere: Identity = { subject: 'alice', tenant: 'other' };
const tally = (results: PromiseSettledResult<unknown>[]) => {
  const counts: Record<string, number> = {};
  for (const result of results) {
    const { code, details } = (result.status === 'rejected' ? result.reason : { code: 'ok', details: {} }) as {
      code: string;
      details: { blocked_by?: string };
    };
    const key = details.blocked_by ?? code;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
};

/** What one caller may take, with two replicas on one database. */
describe('bounds of callers, two replicas', () => {
  const budget = twoReplicas({
    ALLOC_LEASE_DEFAULT_SECONDS: '600',
    ALLOC_LEASE_MAX_SECONDS: '1200',
    ALLOC_CALLER_TOKENS_MAX: '100',
    ALLOC_CALLER_REQUESTS_MAX: '150',
  });
  const { nodes, allocate, free } = budget;
  const call = <T = AllocationMessage>(method: string, request: object, identity: Identity = alice, client = 0) =>
    budget.system.client(client).call<T>(method, request, identity);

  it('gives one caller exactly what one may hold, and leaves the rest to the others', async () => {
    await nodes({ 'ca-1': 120, 'ca-2': 130 });
    const many = (prefix: string, identity: Identity, count: number) =>
      Array.from({ length: count }, (_, index) => allocate(`${prefix}${index}`, 1, index, {}, identity));
    const [alices, bobs] = await Promise.all([
      Promise.allSettled(many('a', alice, 300)),
      Promise.allSettled(many('b', bob, 60)),
    ]);
    expect(tally(alices)).toEqual({ ok: 100, caller_tokens: 200 });
    expect(tally(bobs)).toEqual({ ok: 60 });
    expect((await failure(allocate('one-more', 1, 1))).details).toEqual({
      blocked_by: 'caller_tokens',
      requested: '1',
      limit: '100',
      remaining: '0',
    });
    // The same name in another tenant is another caller.
    expect(await allocate('theirs', 50, 0, {}, elsewhere)).toMatchObject({ state: 'ALLOCATED' });
    // Whatever was granted is answered again, although there is room for nothing new.
    const granted = alices.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []));
    await Promise.all(granted.slice(0, 5).map((index) => allocate(`a${index}`, 1, index)));
    // What returns can be taken again: freed, settled for less, or expired.
    await free(`a${granted[0]}`, 1);
    expect(await allocate('instead', 1, 0)).toMatchObject({ state: 'ALLOCATED' });
    expect((await failure(allocate('too-many', 1, 1))).details).toMatchObject({ blocked_by: 'caller_tokens' });
    await Promise.all(granted.slice(1).map((index) => free(`a${index}`, index)));
    await free('instead');
    expect(
      await budget.system.sql(
        `select tokens::int, requests::int from callers where subject = 'alice' and tenant = 'acme'`,
      ),
    ).toEqual([{ tokens: 0, requests: 0 }]);
  });

  it('counts what is in flight, and what is settled no more', async () => {
    await nodes({ 'cb-1': 1000 });
    await budget.system.sql('update settings set caller_requests_max = 3');
    try {
      const results = await Promise.allSettled(
        Array.from({ length: 40 }, (_, index) => allocate(`f${index}`, 10, index)),
      );
      expect(tally(results)).toEqual({ ok: 3, caller_requests: 37 });
      const [first, second, third] = results.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []));
      await call('settle', { request_id: `${budget.prefix}f${first}`, token_count: 4 });
      await free(`f${second}`);
      expect(await allocate('next', 10, 1)).toMatchObject({ state: 'ALLOCATED' });
      expect(await allocate('after', 10, 0)).toMatchObject({ state: 'ALLOCATED' });
      expect((await failure(allocate('over', 10, 1))).details).toMatchObject({ blocked_by: 'caller_requests' });
      // 4 settled and 30 reserved: so many are left of 100, once there may be more in flight.
      await budget.system.sql('update settings set caller_requests_max = 150');
      expect((await failure(allocate('big', 67, 1))).details).toMatchObject({ remaining: '66' });
      expect(await allocate('fits', 66, 1)).toMatchObject({ state: 'ALLOCATED' });
      for (const id of [`f${first}`, `f${third}`, 'next', 'after', 'fits']) await free(id);
    } finally {
      await budget.system.sql('update settings set caller_requests_max = 150');
    }
  });

  it('gives every allocation a lease, of the default or of at most the longest', async () => {
    await nodes({ 'cc-1': 100 });
    const inSeconds = ({ expires_at }: AllocationMessage) => Number(expires_at?.seconds) - Date.now() / 1000;
    const usual = await allocate('usual', 5);
    expect(inSeconds(usual)).toBeGreaterThan(500);
    expect(inSeconds(usual)).toBeLessThan(700);
    expect(await allocate('usual', 5, 1)).toEqual(usual);
    expect(inSeconds(await allocate('long', 5, 0, { ttl_seconds: 1200 }))).toBeGreaterThan(1100);
    for (const refused of [
      allocate('longer', 5, 0, { ttl_seconds: 1201 }),
      call('extend', { request_id: `${budget.prefix}usual`, ttl_seconds: 1201 }),
    ]) {
      expect(await failure(refused)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'ttl_seconds' } });
    }
    expect(await call('extend', { request_id: `${budget.prefix}usual`, ttl_seconds: 1 })).toMatchObject({});
    await vi.waitFor(
      async () =>
        expect(await call('getAllocation', { request_id: `${budget.prefix}usual` })).toMatchObject({
          state: 'EXPIRED',
        }),
      { timeout: 5000, interval: 100 },
    );
    expect(await failure(allocate('usual', 5, 1))).toMatchObject({
      code: 'ALLOCATION_ENDED',
      details: { state: 'EXPIRED' },
    });
    await free('long');
  });

  it('refuses guests, but for a service that serves them, or where the installation lets them', async () => {
    await nodes({ 'cd-1': 100 });
    const request = { request_id: `${budget.prefix}g`, token_count: 5 };
    expect((await failure(call('allocate', request, guest))).code).toBe('PERMISSION_DENIED');
    expect((await failure(call('batchAllocate', { requests: [request] }, guest))).code).toBe('PERMISSION_DENIED');
    expect(await call('allocate', request, { ...guest, service: 'postcard' })).toMatchObject({ state: 'ALLOCATED' });
    // It is the guest's: so is the bound.
    const more = { request_id: `${budget.prefix}g2`, token_count: 96 };
    expect((await failure(call('allocate', more, { ...guest, service: 'postcard' }))).details).toMatchObject({
      remaining: '95',
    });
    expect(await call('free', { request_id: request.request_id }, guest)).toMatchObject({ state: 'FREED' });
  });

  it('gives nothing to a caller whose e-mail address is known not to be verified', async () => {
    const unverified: Identity = { ...alice, unverified: 'true' };
    const one = { request_id: 'unverified', token_count: '1' };
    expect((await failure(call('allocate', one, unverified))).code).toBe('EMAIL_NOT_VERIFIED');
    expect((await failure(call('batchAllocate', { requests: [one] }, unverified, 1))).code).toBe('EMAIL_NOT_VERIFIED');
  });

  it('counts what is held already when the bounds are set', async () => {
    await nodes({ 'ce-1': 500 });
    const url = budget.system.postgres.url;
    const start = (settings: Record<string, string>) =>
      startReplica({
        LOG_LEVEL: 'fatal',
        ALLOCATOR_DATABASE_URL: url,
        NODES: 'n1,n2,n3,n4',
        NODE_BUDGET: '500',
        ...settings,
      });
    await (await start({ ALLOC_GUESTS: 'true' })).stop();
    await allocate('unbounded', 300);
    const unbounded = await start({ ALLOC_GUESTS: 'true' });
    const taken = { request_id: `${budget.prefix}guest`, token_count: 5 };
    expect(await unbounded.client.call('allocate', taken, guest)).toMatchObject({ state: 'ALLOCATED' });
    await unbounded.stop();
    const bounded = await start({ ALLOC_CALLER_TOKENS_MAX: '310', ALLOC_CALLER_REQUESTS_MAX: '150' });
    expect((await failure(allocate('over', 11, 1))).details).toMatchObject({
      blocked_by: 'caller_tokens',
      remaining: '10',
    });
    await bounded.stop();
    expect((await verify(budget.system.pool)).ok).toBe(true);
    await free('unbounded');
    await call('free', { request_id: taken.request_id }, guest);
    await (await start({ ALLOC_CALLER_TOKENS_MAX: '100', ALLOC_CALLER_REQUESTS_MAX: '150' })).stop();
  });

  it('lists the own allocations in pages, newest first, and those of others to whom they may be shown', async () => {
    await nodes({ 'cf-1': 1000 });
    type Page = { allocations: AllocationMessage[]; next_page_token: string };
    const carol: Identity = { subject: 'carol', tenant: 'acme' };
    const ids: string[] = [];
    for (let index = 0; index < 7; index++) ids.unshift((await allocate(`l${index}`, 1, index, {}, carol)).request_id);
    await allocate('theirs', 1, 0, {}, { ...carol, tenant: 'other' });
    await call('free', { request_id: ids[6] }, carol);
    const listed = async (request: object, identity: Identity) => {
      const pages: AllocationMessage[][] = [];
      let page_token = '';
      do {
        const page: Page = await call(
          'listAllocations',
          { page_size: 3, ...request, page_token },
          identity,
          pages.length,
        );
        pages.push(page.allocations);
        page_token = page.next_page_token;
      } while (page_token !== '');
      return pages;
    };
    const own = await listed({}, carol);
    expect(own.map(({ length }) => length)).toEqual([3, 3, 1]);
    expect(own.flat().map(({ request_id }) => request_id)).toEqual(ids);
    expect(own.flat()[0]).toMatchObject({ tenant: 'acme', subject: 'carol', node_id: 'cf-1', state: 'ALLOCATED' });
    expect((await listed({ state: 'FREED' }, carol)).flat().map(({ request_id }) => request_id)).toEqual([ids[6]]);
    expect((await listed({ node_id: 'cf-2' }, carol)).flat()).toEqual([]);
    // A batch gives one time to all of its allocations.
    const requests = Array.from({ length: 8 }, (_, index) => ({
      request_id: `${budget.prefix}same${index}`,
      token_count: 1,
    }));
    await call('batchAllocate', { requests }, carol);
    const all = (await listed({}, carol)).flat().map(({ request_id }) => request_id);
    expect(new Set(all).size).toBe(15);
    expect(all).toHaveLength(15);

    for (const request of [{ subject: 'alice' }, { subject: '-' }, { tenant: 'other' }, { tenant: '-' }]) {
      expect((await failure(call('listAllocations', request, carol))).code).toBe('PERMISSION_DENIED');
    }
    const otherAdmin: Identity = { subject: 'root', tenant: 'other', roles: 'admin' };
    const theirs = (await listed({ subject: '-' }, otherAdmin)).flat();
    expect(new Set(theirs.map(({ tenant }) => tenant))).toEqual(new Set(['other']));
    expect((await failure(call('listAllocations', { tenant: 'acme' }, otherAdmin))).code).toBe('PERMISSION_DENIED');
    const everyone = (await listed({ tenant: '-', subject: '-', page_size: 100 }, admin)).flat();
    expect(new Set(everyone.map(({ tenant }) => tenant))).toEqual(new Set(['acme', 'other']));
    expect((await listed({ tenant: '-', subject: 'carol' }, admin)).flat()).toHaveLength(16);
    for (const request of [
      { page_size: 1001 },
      { page_size: -1 },
      { page_token: 'AAAA' },
      { state: 9 },
      { node_id: '?' },
    ]) {
      expect((await failure(call('listAllocations', request, carol))).code).toBe('INVALID_ARGUMENT');
    }
    for (const id of all) await call('free', { request_id: id }, carol);
  });

  it('frees by force, for operators, and keeps the reason in the ledger', async () => {
    await nodes({ 'cg-1': 100 });
    const { request_id } = await allocate('stuck', 60);
    const request = { request_id, reason: 'their process is gone' };
    expect((await failure(call('forceFree', request))).code).toBe('PERMISSION_DENIED');
    expect(await failure(call('forceFree', { request_id, reason: ' ' }, admin))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'reason' },
    });
    expect((await failure(call('forceFree', { ...request, request_id: 'none' }, admin))).code).toBe('NOT_FOUND');
    expect(await call('forceFree', request, admin, 1)).toMatchObject({
      state: 'FREED',
      force_free_reason: request.reason,
    });
    // Nothing more happens, and the first reason stays.
    expect(await call('forceFree', { request_id, reason: 'again' }, admin)).toMatchObject({
      force_free_reason: request.reason,
    });
    expect(await call('getAllocation', { request_id })).toMatchObject({
      state: 'FREED',
      force_free_reason: request.reason,
    });
    expect(await budget.usedOf('cg-1')).toBe('0');
    const noted = await budget.system.sql(
      `select r.actor, r.reason, l.kind::int, l.delta::int from ledger_reasons r join ledger l using (batch, tenant, request_id)
         where request_id = $1`,
      [request_id],
    );
    expect(noted).toEqual([{ actor: 'root', reason: request.reason, kind: 4, delta: -60 }]);
    expect(await failure(allocate('stuck', 60))).toMatchObject({
      code: 'ALLOCATION_ENDED',
      details: { state: 'FREED' },
    });
    // Of another tenant: by an administrator of the default one alone.
    const other = await allocate('other', 10, 0, {}, elsewhere);
    const theirs = { request_id: other.request_id, tenant: 'other', reason: 'asked by their operator' };
    expect((await failure(call('forceFree', theirs, { ...admin, tenant: 'third' }))).code).toBe('PERMISSION_DENIED');
    expect(await call('forceFree', theirs, admin)).toMatchObject({ state: 'FREED' });
  });
});
