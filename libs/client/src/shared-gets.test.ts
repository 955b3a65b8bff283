import { afterEach, beforeEach, expect, test } from 'vitest';
import { json, startGateway, type TestGateway } from './gateway.fixture.js';
import { createClient } from './index.js';

let gateway: TestGateway;
/** Answers the GETs that wait. */
let release: () => void;
let left: number;
beforeEach(async () => {
  gateway = await startGateway();
  left = 0;
  const opened = new Promise<void>((resolve) => (release = resolve));
  gateway.answer('GET /me', async (request, response) => {
    response.on('close', () => response.writableEnded || left++);
    await opened;
    json(response, 200, { id: 'ada', accept: request.headers.accept });
  });
});
afterEach(() => gateway.close());

const signedIn = async (shareGets: boolean) => {
  const client = createClient({ baseUrl: gateway.baseUrl, shareGets });
  await client.setSession(gateway.open());
  return client;
};
const asked = (times: number) => expect.poll(() => gateway.count('GET /me')).toBe(times);

test('equal GETs under way are one request, and each caller can read its answer', async () => {
  const client = await signedIn(true);
  const calls = [
    client.fetch('/me'),
    client.fetch('me', { method: 'get' }),
    client.call('GET /me', {}),
    client.fetch('/me', { signal: new AbortController().signal }),
  ];
  await asked(1);
  release();
  const [first, second, me, fourth] = (await Promise.all(calls)) as [Response, Response, { id: string }, Response];
  expect(me.id).toBe('ada');
  for (const response of [first, second, fourth]) expect(await response.json()).toMatchObject({ id: 'ada' });
  await client.fetch('/me');
  await asked(2);
});

test('not unless it was asked for, and not what differs', async () => {
  const apart = await signedIn(false);
  const both = [apart.fetch('/me'), apart.fetch('/me')];
  await asked(2);
  const client = await signedIn(true);
  const others = [client.fetch('/me'), client.fetch('/me?a=b'), client.fetch('/me', { headers: { accept: 'x/y' } })];
  others.push(client.fetch('/me', { cache: 'no-store' }));
  await asked(6);
  release();
  for (const response of await Promise.all([...both, ...others])) await response.arrayBuffer();
});

test('a GET after a change does not get what was asked before it', async () => {
  const client = await signedIn(true);
  const before = client.fetch('/me');
  await asked(1);
  await client.call('POST /alloc', { request_id: 'a', token_count: 1 });
  const after = client.fetch('/me');
  await asked(2);
  release();
  await Promise.all([before, after]);
});

test('who leaves disturbs nobody, and when all have left the request ends', async () => {
  const client = await signedIn(true);
  const leaving = new AbortController();
  const both = [client.fetch('/me', { signal: leaving.signal }), client.fetch('/me')] as const;
  await asked(1);
  leaving.abort(new Error('gone'));
  await expect(both[0]).rejects.toThrow('gone');
  release();
  expect(await (await both[1]).json()).toMatchObject({ id: 'ada' });

  gateway.answer('GET /me', (_, response) => void response.on('close', () => left++));
  const all = new AbortController();
  const calls = [client.fetch('/me', { signal: all.signal }), client.fetch('/me', { signal: all.signal })];
  await asked(2);
  all.abort(new Error('all gone'));
  for (const call of calls) await expect(call).rejects.toThrow('all gone');
  await expect.poll(() => left).toBe(1);
});

test('a token that expired is refreshed once, and the one request sent again', async () => {
  gateway.answer('GET /me', undefined);
  const client = await signedIn(true);
  gateway.expireAll();
  const responses = await Promise.all(Array.from({ length: 5 }, () => client.fetch('/me')));
  expect(responses.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect([gateway.count('GET /me'), gateway.count('POST /auth/refresh')]).toEqual([2, 1]);
});
