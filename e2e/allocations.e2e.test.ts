import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { client, type Client, type Session } from './client.js';

let system: TestSystem;
let api: Client;
let admin: Session;

beforeAll(async () => {
  system = await startSystem({
    env: { NODES: 'a:9007199254740993,b:100', RATE_LIMIT_ENABLED: 'false', PASSWORD_MEMORY_KIB: '64' },
  });
  api = client(system.baseUrl);
  admin = await api.signIn();
  await system.query(`update identity.users set roles = '{admin}' where email = $1`, [admin.account.email]);
  const { body } = await api.login(admin.account);
  admin = {
    ...admin,
    call: (method, path, content) => api.call(method, path, content, { authorization: `Bearer ${body.access_token}` }),
  };
});
afterAll(() => system?.stop());

test('an allocation is extended, settled in part, read and freed', async () => {
  const session = await api.signIn();
  const allocated = await session.call('POST', '/api/v1/alloc', {
    request_id: 'life/1',
    token_count: '40',
    ttl_seconds: 60,
  });
  expect(allocated).toMatchObject({
    status: 200,
    body: { node_id: 'b', state: 'ALLOCATED', token_count: '40', strategy: 'best' },
  });
  const path = '/api/v1/allocations/life%2F1';
  expect((await session.call('POST', `${path}/extend`, { ttl_seconds: 600 })).status).toBe(200);
  const settled = await session.call('POST', `${path}/settle`, { token_count: 15 });
  expect(settled).toMatchObject({ status: 200, body: { state: 'SETTLED', settled: '15' } });
  expect(await session.call('GET', path)).toMatchObject({ status: 200, body: { state: 'SETTLED' } });
  expect(await session.call('POST', `${path}/extend`, { ttl_seconds: 5 })).toMatchObject({
    status: 400,
    body: { code: 'FAILED_PRECONDITION', details: { state: 'SETTLED' } },
  });
  const usage = await session.call('GET', '/api/v1/metrics');
  const nodes = usage.body.nodes as { node_id: string }[];
  expect(nodes.find((node) => node.node_id === 'b')).toMatchObject({
    capacity: '100',
    used: '15',
    remaining: '85',
    state: 'ACTIVE',
    pool: 'default',
  });
  const stranger = await api.signIn();
  expect((await stranger.call('GET', path)).status).toBe(404);
  expect((await stranger.free('life/1')).status).toBe(404);
  expect(await session.call('POST', '/free', { request_id: 'life/1' })).toMatchObject({ body: { state: 'FREED' } });
});

test('a guest takes nothing, and a user sees and loses what is theirs', async () => {
  const { body } = await api.call('POST', '/api/v1/auth/guest', { device_id: 'takes-everything' });
  const guest = { authorization: `Bearer ${body.access_token}` };
  for (const path of ['/alloc', '/api/v1/alloc']) {
    const refused = await api.call('POST', path, { request_id: 'all-of-it', token_count: 100 }, guest);
    expect(refused).toMatchObject({ status: 403, body: { code: 'PERMISSION_DENIED' } });
  }
  const session = await api.signIn();
  const made = await session.call('POST', '/alloc', { request_id: 'listed', token_count: 7 });
  expect(Date.parse(String(made.body.expires_at))).toBeGreaterThan(Date.now() + 3_000_000);
  const own = await session.call('GET', '/api/v1/allocations?state=ALLOCATED');
  expect(own.body.allocations).toMatchObject([{ request_id: 'listed', token_count: '7', tenant: 'default' }]);
  const force = '/api/v1/allocations/listed/force_free';
  expect((await session.call('POST', force, { reason: 'mine' })).status).toBe(403);
  const freed = await admin.call('POST', force, { reason: 'a test ends' });
  expect(freed).toMatchObject({ status: 200, body: { state: 'FREED', force_free_reason: 'a test ends' } });
  const again = await session.call('POST', '/alloc', { request_id: 'listed', token_count: 7 });
  expect(again).toMatchObject({ status: 409, body: { code: 'ALLOCATION_ENDED', details: { state: 'FREED' } } });
});

test('counts are exact, or refused by name', async () => {
  const session = await api.signIn();
  for (const text of [
    '0',
    '-1',
    '1.5',
    '"1.5"',
    '1e-1',
    '"NaN"',
    '9223372036854775808',
    '"9223372036854775808"',
    '"x"',
    'null',
  ]) {
    const answer = await session.call('POST', '/alloc', `{"request_id": "bad", "token_count": ${text}}`);
    expect(answer.status, text).toBe(400);
    expect(JSON.stringify(answer.body), text).toContain('token_count');
  }
  for (const text of ['9007199254740993', '"9007199254740993"']) {
    const answer = await session.call('POST', '/alloc', `{"request_id": "odd", "token_count": ${text}}`);
    expect(answer, text).toMatchObject({ status: 200, body: { token_count: '9007199254740993' } });
  }
  expect((await session.allocate('odd', '9007199254740992')).body.code).toBe('IDEMPOTENCY_MISMATCH');
  expect((await session.free('odd')).status).toBe(200);
  expect(await session.allocate('five', '5')).toMatchObject({ body: { token_count: '5' } });
  expect(await session.allocate('most', '9223372036854775807')).toMatchObject({
    status: 429,
    body: { code: 'BUDGET_EXHAUSTED', details: { blocked_by: 'budget', requested: '9223372036854775807' } },
  });
});

test('many in one call, each with its own result', async () => {
  const session = await api.signIn();
  const requests = [
    { request_id: 'm1', token_count: 1 },
    { request_id: 'm2', token_count: '9223372036854775807' },
    { request_id: 'm1', token_count: 2 },
  ];
  const { status, body } = await session.call('POST', '/api/v1/alloc/batch', { requests });
  expect(status).toBe(200);
  expect(body.results).toMatchObject([
    { request_id: 'm1', allocation: { state: 'ALLOCATED' } },
    { request_id: 'm2', refusal: { code: 'BUDGET_EXHAUSTED' } },
    { request_id: 'm1', refusal: { code: 'IDEMPOTENCY_MISMATCH' } },
  ]);
});

test('administrators change nodes and the strategy, others do not', async () => {
  const session = await api.signIn();
  expect((await session.call('GET', '/api/v1/nodes')).status).toBe(403);
  expect((await session.call('POST', '/api/v1/strategy', { strategy: 'largest' })).status).toBe(403);
  expect(await admin.call('POST', '/api/v1/nodes', { node_id: 'c', capacity: 50 })).toMatchObject({ status: 200 });
  expect((await admin.call('POST', '/api/v1/nodes', { node_id: 'c', capacity: 50 })).status).toBe(409);
  expect(await admin.call('PATCH', '/api/v1/nodes/c', { capacity: '60' })).toMatchObject({ body: { capacity: '60' } });
  expect(await session.allocate('on-c', 55)).toMatchObject({ body: { node_id: 'c' } });
  expect(await admin.call('POST', '/api/v1/nodes/c/drain', {})).toMatchObject({ body: { state: 'DRAINING' } });
  expect(await session.allocate('not-on-c', 5)).toMatchObject({ body: { node_id: 'b' } });
  expect(await admin.call('POST', '/api/v1/nodes/c/undrain', {})).toMatchObject({ body: { state: 'ACTIVE' } });
  expect(await admin.call('GET', '/api/v1/nodes')).toMatchObject({ status: 200 });
  expect(await admin.call('POST', '/api/v1/strategy', { strategy: 'largest' })).toMatchObject({
    body: { strategy: 'largest' },
  });
  expect(await session.allocate('largest', 1)).toMatchObject({ body: { node_id: 'a', strategy: 'largest' } });
  expect((await admin.call('POST', '/api/v1/strategy', { strategy: 'random' })).status).toBe(400);
  expect(await session.call('GET', '/api/v1/strategy')).toMatchObject({ body: { strategy: 'largest' } });
});

test('usage streams as server-sent events', async () => {
  const session = await api.signIn();
  const stop = new AbortController();
  const response = await fetch(`${system.baseUrl}/api/v1/metrics/watch`, {
    headers: { authorization: `Bearer ${session.accessToken}`, accept: 'text/event-stream' },
    signal: stop.signal,
  });
  expect(response.status).toBe(200);
  let text = '';
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const until = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the stream ended: ${text}`);
      text += value;
    }
  };
  await until(/"node_id":"a"/);
  text = '';
  await session.allocate('watched', 1);
  await until(/"node_id":"a"/);
  stop.abort();
});
