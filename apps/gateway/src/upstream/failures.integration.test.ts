import type { ServerHttp2Stream } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, type Protocol, protocols } from '../../testdata/client.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';
import { bytesOf, statusDetails } from '../../testdata/status-bytes.js';

type Trailers = Record<string, string | string[]>;

let upstream: ScriptedUpstream;
const gateways: Record<'usual' | 'status' | 'codes' | 'text' | 'all', TestGateway> = {} as never;
beforeAll(async () => {
  upstream = await startScriptedUpstream();
  const start = (over: object) => startTestGateway(upstream.address, over as Record<string, unknown>);
  gateways.usual = await start({ upstream: { response_headers: ['x-reason'] } });
  gateways.status = await start({ errors: { format: 'status' }, upstream: { json: { proto_names: true } } });
  for (const expose of ['codes', 'text', 'all'] as const)
    gateways[expose] = await start({ upstream: { errors: { expose } } });
});
afterAll(async () => {
  for (const gateway of Object.values(gateways)) await gateway.stop();
  await upstream?.stop();
});

/** How an upstream can fail: by trailers alone, after metadata, and after a message. */
const endings: Record<string, (stream: ServerHttp2Stream, trailers: Trailers, metadata?: Trailers) => void> = {
  'trailers alone': (stream, trailers, metadata = {}) =>
    stream.respond({ ...GRPC, ...metadata, ...trailers }, { endStream: true }),
  'metadata first': (stream, trailers, metadata = {}) => {
    stream.respond({ ...GRPC, ...metadata }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
  },
};
const afterMessage = (stream: ServerHttp2Stream, trailers: Trailers) => {
  stream.respond(GRPC, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end(ECHO);
};

const badRequest = bytesOf([1, bytesOf([1, 'name'], [2, 'is too long'])]);
const retryInfo = bytesOf([1, bytesOf([1, 2], [2, 500_000_000])]);
const details: [string, Uint8Array][] = [
  ['google.rpc.BadRequest', badRequest],
  ['google.rpc.ErrorInfo', bytesOf([1, 'NAME_TOO_LONG'], [2, 'echo.example'], [3, bytesOf([1, 'most'], [2, '10'])])],
  ['google.rpc.LocalizedMessage', bytesOf([1, 'de'], [2, 'zu lang'])],
  ['google.rpc.RetryInfo', retryInfo],
  ['google.rpc.DebugInfo', bytesOf([1, 'at db01'])],
  ['echo.v1.EchoRequest', bytesOf([1, 'own'])],
  ['google.protobuf.Duration', bytesOf([1, 3])],
  ['acme.v1.Unknown', Buffer.from([1, 2, 3])],
  ['google.rpc.Help', Buffer.from([0xff])],
];
const PREFIX = 'type.googleapis.com/';
const shown = [
  {
    '@type': `${PREFIX}google.rpc.BadRequest`,
    fieldViolations: [expect.objectContaining({ field: 'name', description: 'is too long' })],
  },
  {
    '@type': `${PREFIX}google.rpc.ErrorInfo`,
    reason: 'NAME_TOO_LONG',
    domain: 'echo.example',
    metadata: { most: '10' },
  },
  { '@type': `${PREFIX}google.rpc.LocalizedMessage`, locale: 'de', message: 'zu lang' },
  { '@type': `${PREFIX}google.rpc.RetryInfo`, retryDelay: '2.500s' },
  { '@type': `${PREFIX}echo.v1.EchoRequest`, name: 'own', text: '', number: '0' },
  { '@type': `${PREFIX}google.protobuf.Duration`, value: '3s' },
  { '@type': `${PREFIX}acme.v1.Unknown`, value: 'AQID' },
  { '@type': `${PREFIX}google.rpc.Help`, value: '/w==' },
];
const failed = (code: number, text: string, more: Trailers = {}): Trailers => ({
  'grpc-status': String(code),
  'grpc-message': text,
  'grpc-status-details-bin': statusDetails(code, text, details),
  ...more,
});

const rest = (gateway: TestGateway, protocol: Protocol, path = '/v1/echo/a') =>
  ask(gateway.port, protocol, { path, fields: { accept: 'application/x-ndjson, application/json' } });
const grpc = (gateway: TestGateway, method = 'Echo') =>
  ask(gateway.port, 'HTTP/2', {
    method: 'POST',
    path: `/echo.v1.EchoService/${method}`,
    fields: { 'content-type': 'application/grpc', te: 'trailers' },
    body: message(Buffer.alloc(0)),
  });
const trailersOf = ({ fields, trailers }: Awaited<ReturnType<typeof grpc>>): Trailers =>
  ({ ...fields, ...trailers }) as Trailers;

describe.each(protocols)('REST over %s', (protocol) => {
  describe.each(Object.entries(endings))('a call that fails by %s', (_, end) => {
    it('shows the details under details.errors, and RetryInfo as Retry-After', async () => {
      upstream.script = (stream) => end(stream, failed(3, 'no'));
      for (const path of ['/v1/echo/a', '/v1/count/1']) {
        const answer = await rest(gateways.usual, protocol, path);
        expect(answer.status).toBe(400);
        expect(answer.json).toMatchObject({
          code: 'INVALID_ARGUMENT',
          detail: 'no',
          details: { retry_after_ms: 2500 },
        });
        expect((answer.json['details'] as { errors: unknown }).errors).toEqual(shown);
        expect(answer.fields['retry-after']).toBe('3');
      }
    });

    it('shows them as they are in the format status, and an ErrorInfo of ours only without any', async () => {
      upstream.script = (stream) => end(stream, failed(3, 'no'));
      const { json } = await rest(gateways.status, protocol);
      expect(json).toMatchObject({ code: 3, message: 'no' });
      expect(json['details']).toHaveLength(shown.length);
      expect((json['details'] as object[])[0]).toHaveProperty('field_violations');
      upstream.script = (stream) => end(stream, { 'grpc-status': '3', 'grpc-message': 'no' });
      expect((await rest(gateways.status, protocol)).json['details']).toEqual([
        expect.objectContaining({ reason: 'INVALID_ARGUMENT', domain: 'sluice.dev' }),
      ]);
    });

    it('hands on the metadata that say what to do next, and listed ones', async () => {
      upstream.script = (stream) =>
        end(stream, failed(16, 'who?', { 'set-cookie': ['a=; Max-Age=0', 'b=; Max-Age=0'], 'retry-after': '7' }), {
          'www-authenticate': 'Digest realm="a, b"',
          'x-reason': 'old',
          'x-other': 'secret',
          etag: '"1"',
        });
      const { status, fields } = await rest(gateways.usual, protocol);
      expect(status).toBe(401);
      expect(fields).toMatchObject({
        'set-cookie': ['a=; Max-Age=0', 'b=; Max-Age=0'],
        'retry-after': '7',
        'www-authenticate': 'Digest realm="a, b"',
        'x-reason': 'old',
        'content-type': 'application/problem+json',
      });
      for (const name of ['x-other', 'etag', 'grpc-status', 'grpc-status-details-bin']) {
        expect(fields).not.toHaveProperty(name);
      }
    });

    it('says how to sign in when the service does not, and what it says of waiting only when it makes sense', async () => {
      upstream.script = (stream) => end(stream, { 'grpc-status': '16', 'retry-after': 'soon' });
      const { fields } = await rest(gateways.usual, protocol);
      expect(fields['www-authenticate']).toBe('Bearer realm="sluice"');
      expect(fields).not.toHaveProperty('retry-after');
    });

    it.each([2, 13, 14, 15])('keeps the inside that status %i speaks of, unless told otherwise', async (code) => {
      upstream.script = (stream) => end(stream, failed(code, 'db01 is gone'));
      for (const gateway of [gateways.usual, gateways.codes, gateways.status]) {
        const { json, fields } = await rest(gateway, protocol);
        expect(JSON.stringify(json)).not.toMatch(/db01|NAME_TOO_LONG/);
        expect(fields['retry-after']).toBe('3');
      }
      const text = await rest(gateways.text, protocol);
      expect(text.json).toMatchObject({ detail: 'db01 is gone' });
      expect(text.json['details']).toEqual({ retry_after_ms: 2500 });
      const all = await rest(gateways.all, protocol);
      expect(all.json).toMatchObject({ detail: 'db01 is gone' });
      expect(JSON.stringify(all.json['details'])).toContain('at db01');
    });

    it.each<[string, number, number, number]>([
      ['422', 3, 400, 422],
      ['410', 5, 404, 410],
      ['503', 13, 500, 503],
      ['200', 3, 400, 400],
      ['302', 3, 400, 400],
      ['101', 3, 400, 400],
      ['407', 16, 401, 401],
      ['426', 9, 400, 400],
      ['999', 3, 400, 400],
      ['4 2', 3, 400, 400],
    ])('x-http-code: %s with status %i', async (named, code, _usual, expected) => {
      upstream.script = (stream) => end(stream, { 'grpc-status': String(code) }, { 'x-http-code': named });
      const answer = await rest(gateways.usual, protocol);
      expect(answer.status).toBe(expected);
      expect(answer.json).toMatchObject({ status: expected });
      expect(answer.fields).not.toHaveProperty('x-http-code');
    });
  });

  it('tells nothing of connections, whatever services may tell of themselves', async () => {
    upstream.script = (stream) => stream.session!.socket.destroy();
    const { status, json } = await rest(gateways.all, protocol);
    expect([status, json['code']]).toEqual([503, 'UNAVAILABLE']);
    expect(json).not.toHaveProperty('detail');
  });

  it('shows the details in the error of a stream', async () => {
    upstream.script = (stream) => afterMessage(stream, failed(3, 'no'));
    const lines = (await rest(gateways.usual, protocol, '/v1/count/1')).body.toString().trim().split('\n');
    expect(JSON.parse(lines[1]!)).toMatchObject({ error: { code: 'INVALID_ARGUMENT', details: { errors: shown } } });
  });

  it.each<[Trailers, number, boolean]>([
    [{ 'x-http-code': '201', location: '/v1/echo/b' }, 201, true],
    [{ 'x-http-code': '202' }, 202, true],
    [{ 'x-http-code': '204' }, 204, false],
    [{ 'x-http-code': '205' }, 205, false],
    [{ 'x-http-code': '304', etag: '"1"' }, 304, false],
    [{ 'x-http-code': '303', location: '/elsewhere' }, 303, true],
    [{ 'x-http-code': '302' }, 200, true],
    [{ 'x-http-code': '206' }, 200, true],
    [{ 'x-http-code': '100' }, 200, true],
    [{ 'x-http-code': '199' }, 200, true],
    [{ 'x-http-code': '404' }, 200, true],
    [{ 'x-http-code': '2e2' }, 200, true],
    [{ 'x-http-code': '' }, 200, true],
  ])('a call that went well with %o is answered %i', async (metadata, expected, hasBody) => {
    for (const inTrailers of [false, true]) {
      upstream.script = (stream) => {
        stream.respond({ ...GRPC, ...(inTrailers ? {} : metadata) }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...(inTrailers ? metadata : {}) }));
        stream.end(ECHO);
      };
      const answer = await rest(gateways.usual, protocol);
      expect(answer.status).toBe(expected);
      expect(answer.body.length > 0).toBe(hasBody);
      expect('content-type' in answer.fields).toBe(hasBody);
      for (const name of ['location', 'etag']) expect(answer.fields[name]).toBe(metadata[name]);
      expect(answer.fields).not.toHaveProperty('x-http-code');
    }
  });
});

describe('gRPC passed through', () => {
  it.each([2, 3, 13, 14, 15])('a failure with status %i arrives as the service said it', async (code) => {
    const said = failed(code, 'etcdserver: no leader', { 'x-other': 'a', 'trace-bin': 'AP8' });
    for (const end of [...Object.values(endings), afterMessage]) {
      upstream.script = (stream) => end(stream, said);
      for (const gateway of [gateways.usual, gateways.all]) {
        expect(trailersOf(await grpc(gateway, 'Count'))).toMatchObject(said);
      }
    }
  });

  it('without what belongs to the hop to the service', async () => {
    for (const [ending, end] of Object.entries(endings)) {
      const hop = { server: 'inside/1.0', trailer: 'x-a', 'alt-svc': 'h3=":443"' };
      upstream.script = (stream) => end(stream, { 'grpc-status': '9', 'x-kept': 'a', ...hop });
      const seen = trailersOf(await grpc(gateways.usual));
      expect(seen, ending).toMatchObject({ 'grpc-status': '9', 'x-kept': 'a' });
      for (const name of Object.keys(hop)) expect(seen, ending).not.toHaveProperty(name);
    }
  });

  it('over gRPC-Web too', async () => {
    upstream.script = (stream) => endings['trailers alone']!(stream, failed(13, 'etcdserver: no leader'));
    const { body } = await ask(gateways.usual.port, 'HTTP/1.1', {
      method: 'POST',
      path: '/echo.v1.EchoService/Echo',
      fields: { 'content-type': 'application/grpc-web+proto' },
      body: message(Buffer.alloc(0)),
    });
    expect(body.toString()).toContain('grpc-message: etcdserver: no leader');
    expect(body.toString()).toContain('grpc-status-details-bin: ');
  });

  it.each([2, 13, 14, 15])('with the text of status %i, or its code alone, where that is configured', async (code) => {
    for (const end of [...Object.values(endings), afterMessage]) {
      upstream.script = (stream) => end(stream, failed(code, 'db01 is gone', { 'x-other': 'a' }));
      const text = trailersOf(await grpc(gateways.text, 'Count'));
      expect(text).toMatchObject({ 'grpc-status': String(code), 'grpc-message': 'db01 is gone' });
      expect(text).not.toHaveProperty('grpc-status-details-bin');
      expect(text).not.toHaveProperty('x-other');
      const codes = trailersOf(await grpc(gateways.codes, 'Count'));
      expect(codes).toMatchObject({ 'grpc-status': String(code) });
      expect(JSON.stringify(codes)).not.toContain('db01');
    }
  });
});
