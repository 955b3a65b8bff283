import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../testdata/client.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { oneAnswer, parseAnswers, sendRaw } from '../../testdata/raw-http1.js';
import { END_HEADERS, frame, RawHttp2, Type } from '../../testdata/raw-http2.js';

/**
 * What a client can put on the wire, and the answer, which is the same on both protocols. The fields go out byte by byte as
 * they stand here; on HTTP/2 names are lower-cased unless the case is about that.
 */

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: { mode: 'jwt', typ: 'at+jwt', keys: { jwks_url: 'http://127.0.0.1:1/' } },
    upstream: {
      access: [
        { selector: 'echo.v1.EchoService.Echo', public: true },
        { selector: 'echo.v1.EchoService.Metadata', public: true },
      ],
    },
    sizes: { body: '1MiB' },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

type Pairs = [string, string][];
interface Sent {
  method?: string;
  path?: string;
  fields?: Pairs;
  body?: string | Buffer;
}

/** What came back: the status and code of a problem, or 200 and the body. */
async function overHttp1({ method = 'GET', path = '/v1/hang', fields = [], body }: Sent) {
  const length: Pairs = body === undefined ? [] : [['content-length', String(Buffer.byteLength(body))]];
  const all: Pairs = [['Host', 'localhost'], ...fields, ...length, ['Connection', 'close']];
  const head = `${method} ${path} HTTP/1.1\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  const answer = await oneAnswer(gateway.port, Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body ?? '')]));
  return { status: answer.status, body: answer.body };
}

async function overHttp2({ method = 'GET', path = '/v1/hang', fields = [], body }: Sent) {
  const peer = RawHttp2.open(gateway.port);
  const pseudo: Pairs = [
    [':method', method],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'localhost'],
  ];
  peer.headers(
    1,
    [...pseudo, ...fields.map(([name, value]) => [name.toLowerCase(), value] as [string, string])],
    !body,
  );
  if (body) {
    const bytes = Buffer.from(body);
    for (let at = 0; at < bytes.length; at += 16_384) {
      const last = at + 16_384 >= bytes.length;
      peer.send(frame(Type.DATA, last ? 1 : 0, 1, bytes.subarray(at, at + 16_384)));
    }
  }
  const { body: text, reset } = await peer.answer(1);
  peer.close();
  if (reset !== undefined) return { status: `reset ${reset}`, body: text };
  const problem = /"status":(\d{3}),"code"/.exec(text)?.[1];
  return { status: problem ? Number(problem) : 200, body: text };
}

const AUTHORIZED: Pairs = [['Authorization', 'Bearer a.b.c']];
const many = (count: number): Pairs => Array.from({ length: count }, (_, index) => [`x-${index}`, '1']);
const echoed = (text: string | Buffer): Sent => ({ method: 'POST', path: '/v1/echo/ann', body: text });

const cases: [string, Sent, number, string?][] = [
  ['no Authorization on a protected route', {}, 401, 'UNAUTHENTICATED'],
  ['Authorization twice', { fields: [...AUTHORIZED, ...AUTHORIZED] }, 400, 'AUTHORIZATION_DUPLICATE'],
  ['Authorization in two cases', { fields: [...AUTHORIZED, ['aUTHORIZATION', 'x']] }, 400, 'AUTHORIZATION_DUPLICATE'],
  [
    'an empty Authorization beside one',
    { fields: [['authorization', ''], ...AUTHORIZED] },
    400,
    'AUTHORIZATION_DUPLICATE',
  ],
  ['an empty Authorization', { fields: [['authorization', '']] }, 400, 'AUTHORIZATION_MALFORMED'],
  ['a scheme without a token', { fields: [['authorization', 'Bearer']] }, 400, 'AUTHORIZATION_MALFORMED'],
  ['another scheme', { fields: [['authorization', 'Basic YTpi']] }, 400, 'AUTHORIZATION_MALFORMED'],
  ['two tokens in one field', { fields: [['authorization', 'Bearer a, Bearer b']] }, 400, 'AUTHORIZATION_MALFORMED'],
  ['a broken Authorization on a public route', { path: '/v1/metadata', fields: [['authorization', 'x']] }, 200],
  ['two on a public route', { path: '/v1/metadata', fields: [...AUTHORIZED, ...AUTHORIZED] }, 200],
  [
    'a broken Authorization on no route',
    { path: '/nowhere', fields: [['authorization', 'x']] },
    400,
    'AUTHORIZATION_MALFORMED',
  ],
  ['an unknown path', { path: '/v1/nothing' }, 404, 'ROUTE_NOT_FOUND'],
  ['an unknown method', { method: 'PURGE', path: '/v1/metadata' }, 405, 'METHOD_NOT_ALLOWED'],
  ['OPTIONS of a path that nobody has', { method: 'OPTIONS', path: '/v1/nothing' }, 404, 'ROUTE_NOT_FOUND'],
  ['200 fields', { fields: many(200) }, 431, 'HEADERS_TOO_LARGE'],
  ['a percent sign that is none', { path: '/v1/echo/%zz' }, 400, 'INVALID_ARGUMENT'],
  ['bytes that are no UTF-8', { path: '/v1/echo/%ff' }, 400, 'INVALID_ARGUMENT'],
  ['an unknown parameter', { path: '/v1/echo/ann?nothing=1' }, 400, 'INVALID_ARGUMENT'],
  ['a parameter that the path binds', { path: '/v1/echo/ann?name=bob' }, 400, 'INVALID_ARGUMENT'],
  ['a field that the path binds', echoed('{"name":"bob"}'), 400, 'INVALID_ARGUMENT'],
  ['no body where one may be', { method: 'POST', path: '/v1/echo/ann' }, 200],
  ['a body on a rule without', { path: '/v1/metadata', body: '{"a":1}' }, 400, 'INVALID_ARGUMENT'],
  ['text that is no JSON', echoed('{"text":'), 400, 'INVALID_JSON'],
  ['JSON of depth 10 000', echoed(`{"text":${'['.repeat(10_000)}${']'.repeat(10_000)}}`), 400],
  ['a duplicate key', echoed('{"text":"a","text":"b"}'), 400],
  ['__proto__', echoed('{"__proto__":{"text":"a"}}'), 400, 'INVALID_ARGUMENT'],
  ['a lone surrogate', echoed(String.raw`{"text":"\ud800"}`), 400],
  ['a number of 400 digits', echoed(`{"number":${'9'.repeat(400)}}`), 400, 'INVALID_ARGUMENT'],
  ['bytes of no UTF-8 in JSON', echoed(Buffer.from('{"text":"\xff"}', 'latin1')), 400],
  ['a body that is too large', echoed(`{"text":"${'x'.repeat(10 * 1024 * 1024)}"}`), 413, 'PAYLOAD_TOO_LARGE'],
  [
    'a body of another media type',
    { ...echoed('a=b'), fields: [['content-type', 'text/plain']] },
    415,
    'UNSUPPORTED_MEDIA_TYPE',
  ],
  [
    'an unknown content coding',
    { ...echoed('{}'), fields: [['content-encoding', 'zip']] },
    415,
    'UNSUPPORTED_MEDIA_TYPE',
  ],
  [
    'a body that is not what its coding says',
    { ...echoed('{}'), fields: [['content-encoding', 'gzip']] },
    400,
    'MALFORMED_REQUEST',
  ],
  [
    'two content types',
    {
      ...echoed('{}'),
      fields: [
        ['content-type', 'a/b'],
        ['content-type', 'c/d'],
      ],
    },
    400,
    'MALFORMED_REQUEST',
  ],
  ['gRPC with another encoding', { ...echoed('x'), fields: [['content-type', 'application/grpc+json']] }, 415],
  [
    'a timeout that is none',
    { path: '/v1/metadata', fields: [['x-request-timeout', 'soon']] },
    400,
    'MALFORMED_REQUEST',
  ],
  ['a timeout of nothing', { path: '/v1/metadata', fields: [['x-request-timeout', '0']] }, 504, 'DEADLINE_EXCEEDED'],
  [
    'an expectation of something else',
    { path: '/v1/metadata', fields: [['expect', '200-ok']] },
    417,
    'EXPECTATION_FAILED',
  ],
  ['an encoded slash inside a segment', { path: '/v1/echo/a%2Fb' }, 200],
];

describe.each([
  ['HTTP/1.1', overHttp1],
  ['HTTP/2', overHttp2],
] as const)('%s', (_, send) => {
  it.each(cases)('%s', async (_name, sent, status, code) => {
    const answer = await send(sent);
    expect({ status: answer.status, body: answer.body.slice(0, 300) }).toMatchObject({ status });
    if (code) expect(JSON.parse(answer.body)).toMatchObject({ code });
    if (status >= 400) expect(answer.body.length).toBeLessThan(1000);
  });
});

describe('HTTP/1.1 alone', () => {
  const host = 'Host: localhost\r\nConnection: close\r\n';
  it.each<[string, string, number]>([
    [
      'Transfer-Encoding with Content-Length',
      `POST /v1/echo/a HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [
      'two lengths that differ',
      `POST /v1/echo/a HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
      400,
    ],
    ['a length that is none', `POST /v1/echo/a HTTP/1.1\r\n${host}Content-Length: 5x\r\n\r\nhello`, 400],
    ['an unknown transfer coding', `POST /v1/echo/a HTTP/1.1\r\n${host}Transfer-Encoding: gzip\r\n\r\nhello`, 501],
    ['obs-fold', `GET /v1/metadata HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`, 400],
    ['NUL in a value', `GET /v1/metadata HTTP/1.1\r\n${host}X-A: b\0c\r\n\r\n`, 400],
    ['CR in a value', `GET /v1/metadata HTTP/1.1\r\n${host}X-A: b\rc\r\n\r\n`, 400],
    ['LF alone ends no line', `GET /v1/metadata HTTP/1.1\r\n${host}X-A: b\nX-B: c\r\n\r\n`, 400],
    ['a space before the colon', `GET /v1/metadata HTTP/1.1\r\n${host}X-A : b\r\n\r\n`, 400],
    ['no Host', `GET /v1/metadata HTTP/1.1\r\n\r\n`, 400],
    ['two Hosts', `GET /v1/metadata HTTP/1.1\r\n${host}Host: b\r\n\r\n`, 400],
    ['an absolute target', `GET http://localhost/v1/metadata HTTP/1.1\r\n${host}\r\n`, 200],
    ['an absolute target of another host', `GET http://other/v1/metadata HTTP/1.1\r\n${host}\r\n`, 200],
    ['an absolute target without a path', `GET http://localhost?a=b HTTP/1.1\r\n${host}\r\n`, 404],
    ['CONNECT', `CONNECT localhost:80 HTTP/1.1\r\n${host}\r\n`, 405],
    ['a header of 1 MB', `GET /v1/metadata HTTP/1.1\r\n${host}X-A: ${'a'.repeat(1024 * 1024)}\r\n\r\n`, 431],
    ['a target of 1 MB', `GET /v1/echo/${'a'.repeat(1024 * 1024)} HTTP/1.1\r\n${host}\r\n`, 431],
    [
      'a chunk size that is none',
      `POST /v1/echo/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n`,
      400,
    ],
    [
      'an Upgrade',
      `GET /v1/metadata HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
      200,
    ],
    ['garbage', 'hello\r\n\r\n', 400],
    ['HTTP/1.0', `GET /v1/metadata HTTP/1.0\r\n\r\n`, 200],
    ['HEAD of a GET', `HEAD /v1/metadata HTTP/1.1\r\n${host}\r\n`, 200],
    ['chunks', `POST /v1/echo/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`, 200],
    ['chunks without any', `POST /v1/echo/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 200],
  ])('%s', async (_, bytes, status) => {
    const read = await sendRaw(gateway.port, Buffer.from(bytes, 'latin1'));
    expect(read.toString().slice(0, 12), read.toString().slice(0, 500)).toBe(
      `HTTP/1.${status === 0 ? '' : 1} ${status}`,
    );
  });

  it('answers pipelined requests in their order, and the connection lives on', async () => {
    const one = (name: string) => `GET /v1/echo/${name} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const last = 'GET /v1/echo/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const answers = parseAnswers(await sendRaw(gateway.port, one('first') + one('second') + last));
    expect(answers.map(({ body }) => JSON.parse(body).name)).toEqual(['first', 'second', 'last']);
    expect(answers[2]!.fields).toContainEqual(['connection', 'close']);
  });

  it('does not take what is left of a body for a request', async () => {
    const body = 'GET /v1/echo/smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const bytes = `POST /v1/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length + 10}\r\n\r\n${body}`;
    const answers = parseAnswers(await sendRaw(gateway.port, bytes));
    expect(answers.map(({ status }) => status)).toEqual([404]);
  });

  it('gives leave to send a body only when it will be read', async () => {
    const head = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n`;
    expect((await sendRaw(gateway.port, head('/v1/nothing'))).toString()).toMatch(/^HTTP\/1.1 404/);
    const leave = await sendRaw(gateway.port, head('/v1/echo/ann'), 300);
    expect(leave.toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    expect((await sendRaw(gateway.port, `${head('/v1/echo/ann')}{}`)).toString()).toContain('HTTP/1.1 200 OK');
  });

  it('answers while the body is still being sent, and the answer arrives', async () => {
    const answer = await oneAnswer(
      gateway.port,
      Buffer.concat([
        Buffer.from(`POST /v1/echo/ann HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n`),
        Buffer.alloc(8 * 1024 * 1024, 0x20),
      ]),
    );
    expect(answer).toMatchObject({ status: 413, complete: true });
    expect(JSON.parse(answer.body)).toMatchObject({ details: { limit_bytes: 1024 * 1024 } });
  });
});

describe('HTTP/2 alone', () => {
  const pseudo: Pairs = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/v1/metadata'],
    [':authority', 'localhost'],
  ];
  const without = (name: string) => pseudo.filter(([each]) => each !== name);
  /** Malformed requests are stream errors (RFC 9113 section 8.1.1): reset, or a 400. */
  it.each<[string, Pairs]>([
    ['an upper-case name', [...pseudo, ['X-A', 'b']]],
    ['Connection', [...pseudo, ['connection', 'close']]],
    ['Transfer-Encoding', [...pseudo, ['transfer-encoding', 'chunked']]],
    ['another TE than trailers', [...pseudo, ['te', 'gzip']]],
    ['host against :authority', [...pseudo, ['host', 'other']]],
    ['a second :path', [...pseudo, [':path', '/v1/echo/a']]],
    ['a pseudo-header field after another', [...pseudo.slice(0, 3), ['x-a', 'b'], pseudo[3]!]],
    ['an unknown pseudo-header field', [...pseudo, [':x', 'b']]],
    ['no :path', without(':path')],
    ['no :method', without(':method')],
    ['a length that is not the body', [...pseudo, ['content-length', '5']]],
  ])('refuses %s', async (_, fields) => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, fields, true);
    const { body, reset } = await peer.answer(1);
    if (reset === undefined) expect(JSON.parse(body).status).toBe(400);
    // The connection is fit for the next request, unless it was ended with a reason.
    const gone = peer.frames.some((each) => each.type === Type.GOAWAY);
    if (!gone && !peer.closed) {
      peer.headers(3, pseudo, true);
      expect(JSON.parse((await peer.answer(3)).body)).toHaveProperty('metadata');
    }
    peer.close();
  });

  it('answers fields over the limit in all with 431', async () => {
    const fields = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`x-${index}`, 'b'.repeat(1024)]));
    expect((await ask(gateway.port, 'HTTP/2', { path: '/v1/metadata', fields })).status).toBe(431);
  });

  it.each<[string, Pairs]>([
    ['a field of a megabyte', [['x-a', 'b'.repeat(1024 * 1024)]]],
    ['10 000 fields', Array.from({ length: 10_000 }, () => ['a', ''])],
  ])('does not take %s: the stream or the connection ends, and others are served', async (_, fields) => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, [...pseudo, ...fields], true);
    expect((await peer.answer(1)).body).toBe('');
    expect((await overHttp2({ path: '/v1/metadata' })).status).toBe(200);
    peer.close();
  });

  it.each(['\0', '\r', '\n'])('lets no %j in a value through', async (character) => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, [...pseudo, ['grpc-metadata-x-a', `b${character}c`]], true);
    const { body, reset } = await peer.answer(1);
    if (reset === undefined && !body.includes('"status":400')) expect(body).not.toContain('x-a');
    peer.close();
  });

  it('gives leave to send a body only when it will be read', async () => {
    const waiting = (path: string): Pairs => [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', 'localhost'],
      ['expect', '100-Continue'],
      ['content-length', '2'],
    ];
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, waiting('/v1/nothing'), false);
    expect(JSON.parse((await peer.answer(1)).body)).toMatchObject({ status: 404 });
    peer.headers(3, waiting('/v1/echo/ann'), false);
    const leave = await peer.find(({ streamId, type }) => streamId === 3 && type === Type.HEADERS);
    expect(leave).toMatchObject({ flags: END_HEADERS });
    expect(leave!.payload.toString('latin1')).toContain('100');
    expect(peer.frames.filter(({ streamId, type }) => streamId === 3 && type === Type.DATA)).toEqual([]);
    peer.send(frame(Type.DATA, 1, 3, Buffer.from('{}')));
    expect(JSON.parse((await peer.answer(3)).body)).toMatchObject({ name: 'ann' });
    peer.close();
  });

  it('takes host alone, and host like :authority', async () => {
    const peer = RawHttp2.open(gateway.port);
    peer.headers(1, [...without(':authority'), ['host', 'localhost']], true);
    peer.headers(3, [...pseudo, ['host', 'LOCALHOST']], true);
    for (const stream of [1, 3]) expect(JSON.parse((await peer.answer(stream)).body)).toHaveProperty('metadata');
    peer.close();
  });

  it('takes a header block in pieces of one octet', async () => {
    const peer = RawHttp2.open(gateway.port);
    const { fieldBlock } = await import('../../testdata/raw-http2.js');
    const block = fieldBlock(pseudo);
    peer.send(frame(Type.HEADERS, 1, 1, block.subarray(0, 1)));
    for (let at = 1; at < block.length - 1; at++) peer.send(frame(Type.CONTINUATION, 0, 1, block.subarray(at, at + 1)));
    peer.send(frame(Type.CONTINUATION, END_HEADERS, 1, block.subarray(-1)));
    const { body, reset } = await peer.answer(1);
    // A server may see an attack in it (node:http2 does): then the stream or the connection ends, and nothing hangs.
    if (reset === undefined) expect(JSON.parse(body)).toHaveProperty('metadata');
    peer.close();
  });
});
