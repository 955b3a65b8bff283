import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { ECHO, GRPC, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

let echo: EchoServer;
let gateway: TestGateway;
let anywhere: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  const address = `127.0.0.1:${echo.port}`;
  gateway = await startTestGateway(address, { cors: { origins: ['https://app.example'], credentials: true } });
  anywhere = await startTestGateway(address, { cors: { origins: ['*'] } });
});
afterAll(async () => {
  await gateway?.stop();
  await anywhere?.stop();
  echo?.stop();
});

describe.each(protocols)('compression over %s', (protocol) => {
  const text = 'x'.repeat(5000);
  const read = (accept: string | undefined, body = JSON.stringify({ text })) =>
    ask(gateway.port, protocol, {
      method: 'POST',
      path: '/v1/echo/ann',
      body,
      fields: accept === undefined ? {} : { 'accept-encoding': accept },
    });

  it.each<[string | undefined, string | undefined]>([
    [undefined, undefined],
    ['gzip', 'gzip'],
    ['gzip, deflate, br', 'br'],
    ['br;q=0.5, gzip;q=0.8', 'gzip'],
    ['gzip;q=0, br;q=0', undefined],
    ['*', 'br'],
    ['*;q=0', undefined],
    ['zstd', undefined],
    ['GZIP', 'gzip'],
    ['gzip;q=nonsense', undefined],
  ])('Accept-Encoding: %s gives %s', async (accept, coding) => {
    const answer = await read(accept);
    expect(answer.fields['content-encoding']).toBe(coding);
    expect(answer.fields['vary']).toContain('accept-encoding');
    const decoders: Record<string, (bytes: Buffer) => Buffer> = { gzip: gunzipSync, br: brotliDecompressSync };
    const body = coding ? decoders[coding]!(answer.body) : answer.body;
    expect(JSON.parse(body.toString())).toMatchObject({ text });
    if (coding) expect(answer.body.length).toBeLessThan(1000);
  });

  it('leaves small answers as they are', async () => {
    expect((await read('gzip', '{}')).fields).not.toHaveProperty('content-encoding');
  });
});

describe.each(protocols)('a compressed answer over %s', (protocol) => {
  let upstream: ScriptedUpstream;
  let scripted: TestGateway;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    scripted = await startTestGateway(upstream.address, { sizes: { compress_above: 1 } });
  });
  afterAll(async () => {
    await scripted?.stop();
    await upstream?.stop();
  });
  const read = (metadata: Record<string, string>, fields: Record<string, string> = {}) => {
    upstream.script = (stream) => {
      stream.respond({ ...GRPC, ...metadata }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(ECHO);
    };
    return ask(scripted.port, protocol, { path: '/v1/echo/a', fields: { 'accept-encoding': 'gzip', ...fields } });
  };

  it.each([
    ['"abc"', 'W/"abc"'],
    ['W/"abc"', 'W/"abc"'],
  ])('has a weak tag: %s becomes %s (RFC 9110 section 8.8.3.3)', async (etag, weak) => {
    const answer = await read({ etag });
    expect(answer.fields).toMatchObject({ 'content-encoding': 'gzip', etag: weak });
    expect((await read({ etag }, { 'accept-encoding': 'identity' })).fields['etag']).toBe(etag);
  });

  it.each(['no-transform', 'private, No-Transform', 'max-age=5,no-transform'])(
    'is not made under Cache-Control: %s (RFC 9110 section 7.7)',
    async (value) => {
      const answer = await read({ 'cache-control': value, etag: '"abc"' });
      expect(answer.fields).toMatchObject({ 'cache-control': value, etag: '"abc"' });
      expect(answer.fields).not.toHaveProperty('content-encoding');
      expect((await read({}, { 'cache-control': value })).fields).not.toHaveProperty('content-encoding');
    },
  );
});

describe.each(protocols)('over %s', (protocol) => {
  it('every answer has a date (RFC 9110 section 6.6.1)', async () => {
    const began = Math.floor(Date.now() / 1000) * 1000;
    for (const path of ['/v1/echo/a', '/v1/count/2', '/nowhere', '/v1/hang']) {
      const { fields } = await ask(gateway.port, protocol, { path, fields: { 'x-request-timeout': '50ms' } });
      const date = Date.parse(fields['date'] as string);
      expect(date, path).toBeGreaterThanOrEqual(began);
      expect(date).toBeLessThanOrEqual(Date.now());
    }
  });

  it.each([
    ['*', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'],
    ['/v1/echo/a', 'GET, HEAD, OPTIONS, POST'],
    ['/v1/collect', 'OPTIONS, POST'],
  ])('OPTIONS %s says what is allowed (RFC 9110 section 9.3.7), as a refusal does', async (path, allow) => {
    const answer = await ask(gateway.port, protocol, { method: 'OPTIONS', path });
    expect(answer).toMatchObject({ status: 204, fields: { allow } });
    if (path === '*') return;
    const refused = await ask(gateway.port, protocol, { method: 'DELETE', path });
    expect(refused).toMatchObject({ status: 405, fields: { allow } });
  });
});

describe.each(protocols)('CORS over %s', (protocol) => {
  const from = (origin: string, over: Record<string, string> = {}, method = 'GET', gate = gateway) =>
    ask(gate.port, protocol, { method, path: '/v1/echo/ann', fields: { origin, ...over } });

  it('lets a page of a configured origin read', async () => {
    const { status, fields } = await from('https://app.example');
    expect(status).toBe(200);
    expect(fields).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-credentials': 'true',
      vary: expect.stringContaining('origin'),
    });
    expect(fields['access-control-expose-headers']).toContain('retry-after');
  });

  it('answers the preflight request', async () => {
    const asks = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const { status, fields } = await from('https://app.example', asks, 'OPTIONS');
    expect(status).toBe(204);
    expect(fields).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-methods': expect.stringContaining('POST'),
      'access-control-allow-headers': expect.stringContaining('authorization'),
      'access-control-max-age': '600',
    });
  });

  it.each(['https://evil.example', 'https://app.example.evil', 'null', 'http://app.example'])(
    'gives %s no leave',
    async (origin) => {
      expect((await from(origin)).fields).not.toHaveProperty('access-control-allow-origin');
      const refused = await from(origin, { 'access-control-request-method': 'POST' }, 'OPTIONS');
      expect(refused.status).toBe(204);
      expect(refused.fields).not.toHaveProperty('access-control-allow-origin');
    },
  );

  it('lets no page act for a user when every origin may', async () => {
    const everyone = { cors: { origins: ['*'], credentials: true } };
    await expect(startTestGateway('127.0.0.1:1', everyone)).rejects.toThrow('origins that are named');
  });

  it('lets any page read without credentials when every origin may', async () => {
    const { fields } = await from('https://any.example', {}, 'GET', anywhere);
    expect(fields['access-control-allow-origin']).toBe('*');
    expect(fields).not.toHaveProperty('access-control-allow-credentials');
  });

  it('covers refusals', async () => {
    const answer = await ask(gateway.port, protocol, { path: '/nowhere', fields: { origin: 'https://app.example' } });
    expect(answer).toMatchObject({ status: 404, fields: { 'access-control-allow-origin': 'https://app.example' } });
  });
});
