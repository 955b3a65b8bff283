import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { type EchoServer, echoPackage, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { get, sendRaw } from '../../testdata/raw-http1.js';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    upstream: { response_headers: ['x-internal'] },
    limits: {
      policies: [{ name: 'one', match: { paths: ['/v1/hang'] }, dimensions: ['global'], limit: 1, window: '1h' }],
    },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

const MADE = /^[0-9a-f]{32}$/;
/** The id as a service finds it: as such, or as that of the trace. */
const seenBy = (seen: Record<string, string>) => seen['x-request-id'] ?? seen['traceparent']?.split('-')[1];
const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

describe.each(protocols)('x-request-id over %s', (protocol) => {
  const call = (path: string, fields: Record<string, string> = {}, method = 'GET', body?: string) =>
    ask(gateway.port, protocol, { method, path, fields, ...(body !== undefined && { body }) });
  const metadata = async (fields: Record<string, string>) => {
    const { json, fields: answered } = await call('/v1/metadata', fields);
    return { seen: json['metadata'] as Record<string, string>, answered: answered['x-request-id'] };
  };

  it.each(['a', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6', 'Root=1-67891233-abcdef012345678912345678', 'x'.repeat(128)])(
    'is taken: %s',
    async (id) => {
      const { seen, answered } = await metadata({ 'x-request-id': id, 'grpc-metadata-x-request-id': 'other' });
      expect([seen['x-request-id'], answered]).toEqual([id, id]);
    },
  );

  it.each(['', 'a b', 'a,b', '<script>', 'x'.repeat(129), '"', 'é'])('is made anew instead of %j', async (id) => {
    const { seen, answered } = await metadata({ 'x-request-id': id });
    expect(answered).toMatch(MADE);
    expect(seenBy(seen)).toBe(answered);
  });

  it('is made when absent, one for each request, also within one trace of the client', async () => {
    const answers = [
      await metadata({}),
      await metadata({ traceparent: TRACEPARENT }),
      await metadata({ traceparent: TRACEPARENT }),
    ];
    const ids = answers.map(({ answered }) => answered as string);
    expect(new Set(ids).size).toBe(3);
    for (const { seen, answered } of answers) {
      expect(answered).toMatch(MADE);
      expect(seenBy(seen)).toBe(answered);
    }
    // It is the trace's, unless the client has a trace.
    expect(answers.map(({ seen }) => seen['x-request-id'])).toEqual([undefined, ids[1], ids[2]]);
  });

  it.each([
    ['a stream', '/v1/count/2', {}, 200],
    ['no route', '/nowhere', {}, 404],
    ['no such method', '/v1/collect', {}, 405],
    ['a failure of the service', '/v1/fail-unary/5', {}, 404],
    ['a deadline', '/v1/echo/a', { 'x-request-timeout': '0ms' }, 504],
    ['a parameter that is not known', '/v1/echo/a?x=1', {}, 400],
    ['bytes', '/v1/download/1?size=2', {}, 200],
    ['a head that is refused', '/v1/echo/a', { 'x-request-timeout': 'soon' }, 400],
  ])('is given back with %s', async (_, path, fields, status) => {
    const answer = await call(path, { ...fields, 'x-request-id': 'mine' });
    expect(answer.status).toBe(status);
    expect(answer.fields['x-request-id']).toMatch(status === 400 && path === '/v1/echo/a' ? MADE : /^mine$/);
  });

  it('is given back with refusals that were made ready before', async () => {
    for (let time = 0; time < 5; time++) {
      const answer = await call('/v1/hang', { 'x-request-id': `r${time}`, 'x-request-timeout': '10ms' });
      expect(answer.fields['x-request-id']).toBe(`r${time}`);
    }
  });

  it('is given back over gRPC-Web', async () => {
    const fields = { 'content-type': 'application/grpc-web+proto', 'x-request-id': 'mine' };
    for (const path of ['/echo.v1.EchoService/Echo', '/echo.v1.EchoService/Nothing']) {
      const answer = await call(path, fields, 'POST', '\0\0\0\0\0');
      expect(answer).toMatchObject({ status: 200, fields: { 'x-request-id': 'mine' } });
    }
  });

  it('the client’s user-agent goes on to the service', async () => {
    const { seen } = await metadata({ 'user-agent': 'agent/1.0 (x; y)', 'grpc-metadata-user-agent': 'other' });
    expect(seen['user-agent']).toBe('agent/1.0 (x; y)');
  });
});

it('x-request-id is given back to what is no HTTP', async () => {
  expect(String(await sendRaw(gateway.port, 'nonsense\r\n\r\n'))).toMatch(/\r\nx-request-id: [0-9a-f]{32}\r\n/i);
  const two = String(
    await sendRaw(gateway.port, get('/v1/echo/a', 'X-Request-Id: a\r\nX-Request-Id: b\r\nConnection: close\r\n')),
  );
  expect(two).toMatch(/\r\nx-request-id: [0-9a-f]{32}\r\n/i);
});

it('both go through gRPC as it is', async () => {
  const client = new Client(`127.0.0.1:${gateway.port}`, credentials.createInsecure(), {
    'grpc.primary_user_agent': 'mine/1',
  });
  const { path, requestSerialize, responseDeserialize } = echoPackage.echo.v1.EchoService.service['Metadata']!;
  try {
    const sent = new Metadata();
    sent.set('x-request-id', 'mine');
    let answered: Metadata | undefined;
    const seen = await new Promise<{ metadata: Record<string, string> }>((resolve, reject) => {
      const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, sent, (error, value) =>
        error ? reject(error) : resolve(value as { metadata: Record<string, string> }),
      );
      call.on('metadata', (metadata: Metadata) => (answered = metadata));
    });
    expect(seen.metadata['x-request-id']).toBe('mine');
    expect(seen.metadata['user-agent']).toMatch(/^mine\/1 grpc-node-js/);
    expect(answered?.get('x-request-id')).toEqual(['mine']);
  } finally {
    client.close();
  }
});
