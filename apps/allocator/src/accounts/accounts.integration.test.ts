import { describe, expect, it } from 'vitest';
import { admin, alice, type AllocationMessage, failure, type Identity } from '../replicas.fixture.js';
import { twoReplicas } from '../two-replicas.fixture.js';

const replicas = twoReplicas({ DEFAULT_TENANT: 'acme', ALLOC_GUESTS: 'true', ALLOC_GUEST_TOKENS_PER_DAY: '100' });

interface LimitMessage {
  readonly limit_id: string;
  readonly used: string;
  readonly ceiling: string;
  readonly remaining: string;
  readonly resets_at: { readonly seconds: string } | null;
}
interface AccountMessage {
  readonly account_id: string;
  readonly path: string;
  readonly state: string;
  readonly limits: readonly LimitMessage[];
}
type Tenant = `t${number}`;

let number = 0;
/** A tenant of its own for each test; its administrators are not those of the default tenant. */
function tenant() {
  const name: Tenant = `t${++number}`;
  const user: Identity = { ...alice, tenant: name };
  const call = <T>(method: string, request: object, identity: Identity = admin, replica = 0) =>
    replicas.system.client(replica).call<T>(method, request, identity);
  let id = 0;
  return {
    name,
    user,
    owner: { ...admin, tenant: name } as Identity,
    call,
    account: (path: string) => {
      const at = path.lastIndexOf('/');
      return call<AccountMessage>('createAccount', {
        tenant: name,
        parent: at < 0 ? '' : path.slice(0, at),
        name: path.slice(at + 1),
      });
    },
    limit: (account: string, amount: number | string, more: object = {}) =>
      call<LimitMessage>('setLimit', { tenant: name, account, unit: 'tokens', period: 'month', amount, ...more }),
    allocate: (token_count: number | string, more: object = {}, identity: Identity = user, replica = 0) =>
      call<AllocationMessage>(
        'allocate',
        { request_id: `${name}-${++id}`, token_count, ttl_seconds: 600, ...more },
        identity,
        replica,
      ),
    limits: async (account: string) =>
      (await call<AccountMessage>('getAccount', { tenant: name, account })).limits.map(({ used }) => Number(used)),
  };
}

describe('limits', () => {
  it('bound what all callers of a path spend, over both replicas, exactly', async () => {
    await replicas.nodes({ 'bound-1': 100_000, 'bound-2': 100_000 });
    const t = tenant();
    await t.account('search');
    await t.account('search/indexer');
    await t.limit('-', 1000);
    await t.limit('search', 300, { period: 'day', zone: 'Europe/Berlin' });
    await t.limit('search/indexer', 200_000, { period: 'minute' });
    const asked = Array.from({ length: 100 }, (_, index) =>
      t.allocate(10, { account: 'search/indexer' }, t.user, index % 2).catch(() => undefined),
    );
    const granted = (await Promise.all(asked)).filter((one) => one !== undefined);
    expect(granted).toHaveLength(30);
    expect(await t.limits('search')).toEqual([300]);
    expect(await t.limits('-')).toEqual([300]);
    // Another team of the tenant goes on, up to what the tenant has.
    await t.account('ads');
    const refused = await failure(t.allocate(701, { account: 'ads' }));
    expect(refused.details).toMatchObject({ blocked_by: 'account', account: '', unit: 'tokens', period: 'month' });
    expect(refused.details).toMatchObject({ remaining: '700', requested: '701', ceiling: '1000' });
    await t.allocate(700, { account: 'ads' });
  });

  it('name the limit that decides when trying again helps', async () => {
    await replicas.nodes({ latest: 100_000 });
    const t = tenant();
    await t.account('team');
    await t.limit('team', 10, { period: 'hour' });
    await t.limit('-', 10, { period: 'month' });
    await t.allocate(10, { account: 'team' });
    const { code, details } = await failure(t.allocate(1, { account: 'team' }));
    expect(code).toBe('BUDGET_EXHAUSTED');
    expect(details).toMatchObject({ account: '', period: 'month' });
    const resets = new Date(String(details['resets_at']));
    expect(resets.getUTCDate()).toBe(1);
    expect(Number(details['retry_after_ms'])).toBeGreaterThan(0);
    expect(details['should_retry']).toBeUndefined();
    // What never fits says so, and not when to try again.
    const never = (await failure(t.allocate(11, { account: 'team' }))).details;
    expect(never['should_retry']).toBe(false);
    expect(never['retry_after_ms']).toBeUndefined();
  });

  it('count tokens, money and requests in one debit or none', async () => {
    await replicas.nodes({ units: 100_000 });
    const t = tenant();
    await t.limit('-', 1000);
    await t.limit('-', 500, { unit: 'micro_usd' });
    await t.limit('-', 3, { unit: 'requests' });
    const first = await t.allocate(100, { cost_micros: 300 });
    expect(first).toMatchObject({ cost_micros: '300' });
    const refused = await failure(t.allocate(100, { cost_micros: 201 }));
    expect(refused.details).toMatchObject({ unit: 'micro_usd', remaining: '200', requested: '201' });
    expect(await t.limits('-')).toEqual([100, 300, 1]);
    await t.call('settle', { request_id: first.request_id, token_count: 40 }, t.user);
    // Without a cost, as much of it as of the tokens, rounded up.
    expect(await t.limits('-')).toEqual([40, 120, 1]);
    const second = await t.allocate(1, { cost_micros: 7 });
    await t.call('settle', { request_id: second.request_id, token_count: 1, cost_micros: 3 }, t.user);
    await t.call('free', { request_id: (await t.allocate(1)).request_id }, t.user);
    expect(await t.limits('-')).toEqual([41, 123, 2]);
  });

  it('are spent by what was settled: only an operator gives it back, with a reason', async () => {
    await replicas.nodes({ spent: 100_000 });
    const t = tenant();
    await t.limit('-', 100);
    const { request_id } = await t.allocate(60);
    await t.call('settle', { request_id, token_count: 50 }, t.user);
    expect((await failure(t.call('free', { request_id }, t.user))).code).toBe('FAILED_PRECONDITION');
    expect((await failure(t.call('forceFree', { request_id, reason: 'wrong' }, t.owner))).code).toBe(
      'PERMISSION_DENIED',
    );
    expect(await t.limits('-')).toEqual([50]);
    const freed = await t.call('forceFree', { request_id, tenant: t.name, reason: 'a fault of ours' });
    expect(freed).toMatchObject({ state: 'FREED', force_free_reason: 'a fault of ours' });
    expect(await t.limits('-')).toEqual([0]);
  });

  it('are charged in full for what was settled above the reservation', async () => {
    await replicas.nodes({ overrun: 100_000 });
    const t = tenant();
    await t.limit('-', 100);
    const { request_id } = await t.allocate(90);
    const settled = await t.call('settle', { request_id, token_count: 140 }, t.user);
    expect(settled).toMatchObject({ state: 'SETTLED', settled: '140' });
    expect(await t.limits('-')).toEqual([140]);
    expect((await failure(t.allocate(1))).details).toMatchObject({ remaining: '0' });
    const events = await replicas.system.sql(
      'select kind, used::int from budget_events where tenant = $1 order by kind',
      [t.name],
    );
    expect(events).toEqual(
      [
        { kind: 1, used: 140 },
        { kind: 2, used: 140 },
        { kind: 3, used: 140 },
      ].map((one) => expect.objectContaining({ kind: one.kind })),
    );
    expect(await replicas.usedOf('overrun')).toBe('140');
  });

  it('warn once a period, in the answer that crosses and in the outbox', async () => {
    await replicas.nodes({ warn: 100_000 });
    const t = tenant();
    await t.limit('-', 100, { soft_percent: 80 });
    await t.limit('-', 50, { mode: 'soft', soft_percent: 0 });
    expect((await t.allocate(50)).warnings).toEqual([]);
    // The soft limit lets pass and tells.
    expect((await t.allocate(10)).warnings).toMatchObject([{ account: '', used: '60' }]);
    expect((await t.allocate(20)).warnings).toMatchObject([{ used: '80' }]);
    expect((await t.allocate(5)).warnings).toEqual([]);
    const events = await replicas.system.sql(
      'select kind, used::int from budget_events where tenant = $1 order by event_id',
      [t.name],
    );
    expect(events).toEqual([
      { kind: 2, used: 60 },
      { kind: 1, used: 80 },
    ]);
  });

  it('change at once, on the running period: amounts, top-ups, overrides', async () => {
    await replicas.nodes({ change: 100_000 });
    const t = tenant();
    const { limit_id } = await t.limit('-', 100);
    await t.allocate(100);
    await failure(t.allocate(1));
    expect(await t.limit('-', 120)).toMatchObject({ limit_id, used: '100', remaining: '20' });
    await t.call('topUpLimit', { limit_id, amount: 30, reason: 'a busy week' });
    const until = { seconds: Math.floor(Date.now() / 1000) + 3600, nanos: 0 };
    const more = await t.call('overrideLimit', { limit_id, extra: 50, until, reason: 'a demo' });
    expect(more).toMatchObject({ ceiling: '200', remaining: '100', extra: '50' });
    await expect
      .poll(() =>
        t.allocate(100).then(
          ({ state }) => state,
          () => 'refused',
        ),
      )
      .toBe('ALLOCATED');
    await t.call('overrideLimit', { limit_id, extra: 0, reason: 'it is over' });
    expect(await t.limit('-', 90)).toMatchObject({ used: '200', ceiling: '120', remaining: '0' });
    const changes = await replicas.system.sql<{ action: string }>(
      'select action from budget_changes where tenant = $1 and row_id is not null order by batch',
      [t.name],
    );
    expect(changes.map(({ action }) => action)).toEqual([
      'change limit',
      'top up limit',
      'override limit',
      'override limit',
      'change limit',
    ]);
  });
});

describe('accounts', () => {
  it('are charged by key or token, and by request only at or below those', async () => {
    await replicas.nodes({ whose: 100_000 });
    const t = tenant();
    const team = await t.account('team');
    const key = await t.account('team/key');
    await t.account('other');
    const member: Identity = { ...t.user, account: 'team' };
    expect((await t.allocate(1, {}, member)).account).toBe(team.account_id);
    expect((await t.allocate(1, { account: 'team/key' }, member)).account).toBe(key.account_id);
    expect((await t.allocate(1, { account: key.account_id }, { ...t.user, account: team.account_id })).account).toBe(
      key.account_id,
    );
    expect((await failure(t.allocate(1, { account: 'other' }, member))).code).toBe('NOT_FOUND');
    expect((await failure(t.allocate(1, { account: 'nowhere' }))).code).toBe('NOT_FOUND');
    expect((await failure(t.allocate(1, {}, { ...t.user, account: 'gone' }))).code).toBe('PERMISSION_DENIED');
    const root = await t.call<AccountMessage>('getAccount', { tenant: t.name, account: '-' });
    expect((await t.allocate(1)).account).toBe(root.account_id);
    const other = tenant();
    expect((await other.allocate(1)).account).toBe('');
    expect((await failure(other.allocate(1, { account: key.account_id }))).code).toBe('NOT_FOUND');
  });

  it('have one for guests with a limit of its own', async () => {
    await replicas.nodes({ guests: 100_000 });
    const t = tenant();
    await t.account('team');
    const guest: Identity = { subject: 'guest-1', tenant: t.name, guest: 'true' };
    await t.allocate(100, {}, guest);
    expect((await failure(t.allocate(1, {}, guest))).details).toMatchObject({ account: 'guests', period: 'day' });
    await t.allocate(1);
  });

  it('are renamed, moved, closed and deleted, and what was charged stays', async () => {
    await replicas.nodes({ move: 100_000 });
    const t = tenant();
    await t.account('a');
    await t.account('a/b');
    await t.account('c');
    await t.limit('a', 100);
    await t.limit('a/b', 100);
    await t.limit('c', 100);
    const open = await t.allocate(40, { account: 'a/b' });
    const at = { tenant: t.name };
    const moved = await t.call<AccountMessage>('updateAccount', { ...at, account: 'a/b', parent: 'c', name: 'd' });
    expect(moved.path).toBe('c/d');
    await t.allocate(50, { account: 'c/d' });
    expect([await t.limits('a'), await t.limits('c'), await t.limits('c/d')]).toEqual([[40], [50], [90]]);
    // It returns to those that were charged.
    await t.call('settle', { request_id: open.request_id, token_count: 10 }, t.user);
    expect([await t.limits('a'), await t.limits('c'), await t.limits('c/d')]).toEqual([[10], [50], [60]]);
    expect((await failure(t.call('updateAccount', { ...at, account: 'c', parent: 'c/d' }))).code).toBe(
      'FAILED_PRECONDITION',
    );
    expect((await failure(t.account('c/d'))).code).toBe('ALREADY_EXISTS');
    await t.call('closeAccount', { ...at, account: 'c' });
    expect((await failure(t.allocate(1, { account: 'c/d' }, t.user, 1))).code).toBe('FAILED_PRECONDITION');
    expect((await failure(t.call('deleteAccount', { ...at, account: 'c' }))).code).toBe('FAILED_PRECONDITION');
    await t.call('reopenAccount', { ...at, account: 'c' });
    await t.allocate(1, { account: 'c/d' }, t.user, 1);
    expect((await failure(t.call('deleteAccount', { ...at, account: 'c/d' }))).code).toBe('FAILED_PRECONDITION');
    await t.call('deleteAccount', { ...at, account: 'a' });
    expect((await failure(t.allocate(1, { account: 'a' }))).code).toBe('NOT_FOUND');
  });

  it('are at most five levels deep, wherever they are moved', async () => {
    const t = tenant();
    for (const path of ['1', '1/2', '1/2/3', '1/2/3/4', '1/2/3/4/5', 'x', 'x/y']) await t.account(path);
    expect((await failure(t.account('1/2/3/4/5/6'))).code).toBe('FAILED_PRECONDITION');
    const at = { tenant: t.name };
    expect((await failure(t.call('updateAccount', { ...at, account: 'x', parent: '1/2/3/4' }))).code).toBe(
      'FAILED_PRECONDITION',
    );
    await t.call('updateAccount', { ...at, account: 'x', parent: '1/2/3' });
    expect((await failure(t.account('1/2/3/x/y/z'))).code).toBe('FAILED_PRECONDITION');
  });

  it("are looked after by the tenant's administrators, but what bounds the tenant by those of the default tenant", async () => {
    const t = tenant();
    await t.limit('-', 100);
    const { limit_id } = await t.limit('-', 100, { unit: 'requests' });
    await t.call('createAccount', { name: 'ours' }, t.owner);
    const own = await t.call<LimitMessage>(
      'setLimit',
      { account: 'ours', unit: 'tokens', period: 'day', amount: 5 },
      t.owner,
    );
    const denied = [
      t.call('setLimit', { account: '-', unit: 'tokens', period: 'month', amount: 1000 }, t.owner),
      t.call('topUpLimit', { limit_id, amount: 5, reason: 'more' }, t.owner),
      t.call('deleteLimit', { limit_id }, t.owner),
      t.call('closeAccount', { account: '-' }, t.owner),
      t.call('createAccount', { tenant: 'acme', name: 'theirs' }, t.owner),
      t.call('createAccount', { name: 'mine' }, t.user),
    ];
    const refused = await Promise.all(denied.map(failure));
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['PERMISSION_DENIED']));
    const other = tenant();
    await other.account('x');
    expect((await failure(t.call('deleteLimit', { limit_id: own.limit_id }, other.owner))).code).toBe('NOT_FOUND');
    await t.call('deleteLimit', { limit_id: own.limit_id }, t.owner);
    const budget = await t.call<{ limits: LimitMessage[] }>('getBudget', {}, t.user);
    expect(budget.limits.map(({ remaining }) => remaining)).toEqual(['100', '100']);
  });

  it.each([
    ['createAccount', { name: '' }, 'name'],
    ['createAccount', { name: 'a/b' }, 'name'],
    ['createAccount', { name: 'acc_5' }, 'name'],
    ['setLimit', { account: '-', unit: 'dollars', period: 'day', amount: 1 }, 'unit'],
    ['setLimit', { account: '-', unit: 'tokens', period: 'year', amount: 1 }, 'period'],
    ['setLimit', { account: '-', unit: 'tokens', period: 'day', amount: -1 }, 'amount'],
    ['setLimit', { account: '-', unit: 'tokens', period: 'day', amount: 1, zone: 'Mars/Olympus' }, 'zone'],
    ['setLimit', { account: '-', unit: 'tokens', period: 'hour', amount: 1, zone: 'Europe/Berlin' }, 'zone'],
    ['setLimit', { account: '-', unit: 'tokens', period: 'day', amount: 1, soft_percent: 101 }, 'soft_percent'],
    ['setLimit', { account: 'a//b', unit: 'tokens', period: 'day', amount: 1 }, 'account'],
    ['topUpLimit', { limit_id: '7', amount: 1, reason: 'x' }, 'limit_id'],
    ['allocate', { request_id: 'x', token_count: 1, cost_micros: -1 }, 'cost_micros'],
    ['allocate', { request_id: 'x', token_count: 1, labels: { a: '' } }, 'labels'],
    ['allocate', { request_id: 'x', token_count: 1, pool: 'no such pool' }, 'pool'],
    ['allocate', { request_id: 'x', token_count: 1, pool: 'none' }, 'pool'],
  ])('%s refuses %j by its field', async (method, request, field) => {
    const t = tenant();
    const { code, details } = await failure(t.call(method, request));
    expect([code, details['field']]).toEqual(['INVALID_ARGUMENT', field]);
  });
});
