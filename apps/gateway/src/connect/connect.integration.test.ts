import { readFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { createFileRegistry, type DescService, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { type EchoServer, echoDescriptorSet, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { ECHO, GRPC, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(echoDescriptorSet)));
const service: DescService = registry.getService('echo.v1.EchoService')!;

type Message = Record<string, unknown>;
interface EchoClient {
  echo(request: Message, options?: object): Promise<Message>;
  metadata(request: Message, options?: object): Promise<{ metadata: Record<string, string>; deadlineMs: bigint }>;
  failUnary(request: Message): Promise<Message>;
  hang(request: Message, options?: object): Promise<Message>;
  count(request: Message, options?: object): AsyncIterable<Message>;
  fail(request: Message): AsyncIterable<Message>;
  collect(requests: AsyncIterable<Message>): Promise<Message>;
  chat(requests: AsyncIterable<Message>): AsyncIterable<Message>;
}

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    upstream: {
      http: {
        rules: [{ selector: 'echo.v1.EchoService.FailUnary', post: '/echo.v1.EchoService/Metadata', body: '*' }],
      },
    },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

function clientOf(httpVersion: '1.1' | '2', more: object = {}, gate = gateway): EchoClient {
  const transport = createConnectTransport({ baseUrl: gate.origin, httpVersion, ...more } as Parameters<
    typeof createConnectTransport
  >[0]);
  return createClient(service, transport) as unknown as EchoClient;
}

async function all(messages: AsyncIterable<Message>): Promise<Message[]> {
  const list: Message[] = [];
  for await (const message of messages) list.push(message);
  return list;
}

async function* each(...messages: Message[]): AsyncGenerator<Message> {
  for (const message of messages) yield await Promise.resolve(message);
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(
    await work.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

describe.each([
  ['HTTP/1.1 and JSON', '1.1', {}],
  ['HTTP/1.1 and protobuf', '1.1', { useBinaryFormat: true }],
  ['HTTP/2 and JSON', '2', {}],
  ['HTTP/2 and protobuf', '2', { useBinaryFormat: true }],
] as const)('the official client over %s', (_, httpVersion, options) => {
  const client = () => clientOf(httpVersion, options);

  it('unary', async () => {
    const request = { name: 'ann', text: 'héllo', number: 9007199254740993n };
    const headers: Headers[] = [];
    const onHeader = (fields: Headers) => void headers.push(fields);
    expect(await client().echo(request, { onHeader })).toMatchObject(request);
    expect(headers[0]!.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(headers[0]!.get('x-internal')).toBe('secret');
    expect(headers[0]!.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
  });

  it('a message that is compressed, and an answer', async () => {
    const text = 'x'.repeat(20_000);
    const { compressionGzip } = await import('@connectrpc/connect-node');
    const zipped = clientOf(httpVersion, { ...options, sendCompression: compressionGzip, compressMinBytes: 1 });
    expect(await zipped.echo({ text })).toMatchObject({ text });
    expect(await zipped.collect(each({ text }, { text: 'b' }))).toMatchObject({ messages: 2, last: 'b' });
  });

  it('metadata, the deadline and who calls', async () => {
    const { metadata, deadlineMs } = await client().metadata(
      {},
      { headers: { 'x-custom': 'a', 'x-bin-bin': 'AAE' }, timeoutMs: 5000 },
    );
    expect(metadata).toMatchObject({ 'x-custom': 'a', 'x-forwarded-for': '127.0.0.1' });
    expect(metadata['user-agent']).toContain('connect-es/');
    expect(Object.keys(metadata).filter((name) => name.startsWith('connect-'))).toEqual([]);
    expect(Number(deadlineMs)).toBeGreaterThan(0);
    expect(Number(deadlineMs)).toBeLessThanOrEqual(5000);
  });

  it('GET of a method without side effects', async () => {
    const { metadata } = await clientOf(httpVersion, { ...options, useHttpGet: true }).metadata(
      {},
      { headers: { 'x-custom': 'a' } },
    );
    expect(metadata['x-custom']).toBe('a');
  });

  it('errors', async () => {
    const error = await failure(client().failUnary({ code: 9, message: 'not nów' }));
    expect([error.code, error.rawMessage]).toEqual([Code.FailedPrecondition, 'not nów']);
    expect((await failure(client().failUnary({ code: 13, message: 'inside' }))).rawMessage).toBe('inside');
    expect((await failure(client().hang({}, { timeoutMs: 100 }))).code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => echo.hanging()).toBe(0);
  });

  it('a stream of answers', async () => {
    const messages = await all(client().count({ count: 3, size: 2 }));
    expect(messages.map(({ text, number }) => [text, number])).toEqual([
      ['xx', 1n],
      ['xx', 2n],
      ['xx', 3n],
    ]);
    expect(await all(client().count({ count: 0 }))).toEqual([]);
    expect(await all(client().count({ count: 300, size: 10_000 }))).toHaveLength(300);
  });

  it('a stream of answers that fails, before the first and after', async () => {
    for (const after of [0, 2]) {
      const got: Message[] = [];
      const error = await failure(
        (async () => {
          for await (const message of client().fail({ code: 5, message: 'gone', after })) got.push(message);
        })(),
      );
      expect([error.code, error.rawMessage, got.length]).toEqual([Code.NotFound, 'gone', after]);
    }
  });

  it('a stream of requests', async () => {
    expect(await client().collect(each({ text: 'a' }, { text: 'b' }, { text: 'c' }))).toMatchObject({
      messages: 3,
      last: 'c',
    });
    expect(await client().collect(each())).toMatchObject({ messages: 0 });
  });

  it('a client that leaves ends the call', async () => {
    const before = echo.cancelled();
    const leaving = new AbortController();
    const call = failure(client().hang({}, { signal: leaving.signal }));
    await expect.poll(() => echo.hanging()).toBe(1);
    leaving.abort();
    expect((await call).code).toBe(Code.Canceled);
    await expect.poll(() => echo.cancelled()).toBe(before + 1);
  });
});

it.each([{}, { useBinaryFormat: true }])('messages in both directions at once: %j', async (options) => {
  let answered: (() => void) | undefined;
  async function* requests(): AsyncGenerator<Message> {
    for (const text of ['a', 'b', 'c']) {
      const next = new Promise<void>((resolve) => (answered = resolve));
      yield { text };
      await next;
    }
  }
  const got: unknown[] = [];
  for await (const { text } of clientOf('2', options).chat(requests())) {
    got.push(text);
    answered!();
  }
  expect(got).toEqual(['a', 'b', 'c']);
});

describe.each(protocols)('by hand over %s', (protocol) => {
  const path = '/echo.v1.EchoService/Echo';
  const post = (body: string | Buffer, fields: Record<string, string> = {}, to = path) =>
    ask(gateway.port, protocol, {
      method: 'POST',
      path: to,
      body,
      fields: { 'content-type': 'application/json', ...fields },
    });

  it('curl needs no header of the protocol; members that are not known are left out', async () => {
    const answer = await post('{"text":"a","nope":1}');
    expect(answer).toMatchObject({ status: 200, json: { text: 'a' }, fields: { 'content-type': 'application/json' } });
  });

  it('an HTTP rule of the same path goes first, unless the client says what it speaks', async () => {
    const taken = '/echo.v1.EchoService/Metadata';
    expect(await post('{"code":5}', {}, taken)).toMatchObject({ status: 404, json: { code: 'NOT_FOUND' } });
    const answer = await post('{}', { 'connect-protocol-version': '1' }, taken);
    expect(answer).toMatchObject({ status: 200, json: { metadata: { 'x-forwarded-for': '127.0.0.1' } } });
  });

  it('gzip in and out', async () => {
    const text = 'x'.repeat(5000);
    const answer = await post(gzipSync(JSON.stringify({ text })), {
      'content-encoding': 'gzip',
      'accept-encoding': 'gzip',
    });
    expect(answer.fields['content-encoding']).toBe('gzip');
    expect(JSON.parse(gunzipSync(answer.body).toString())).toMatchObject({ text });
  });

  it.each([
    ['broken JSON', '{', {}, 400, 'invalid_argument'],
    ['another version', '{}', { 'connect-protocol-version': '2' }, 400, 'invalid_argument'],
    [
      'a timeout that is none',
      '{}',
      { 'connect-protocol-version': '1', 'connect-timeout-ms': '1e3' },
      400,
      'MALFORMED_REQUEST',
    ],
    ['another type', '{}', { 'content-type': 'text/plain', 'connect-protocol-version': '1' }, 415, 'invalid_argument'],
    ['the type of a stream', '{}', { 'content-type': 'application/connect+json' }, 415, 'invalid_argument'],
    [
      'a deadline that has passed',
      '{}',
      { 'connect-protocol-version': '1', 'connect-timeout-ms': '0' },
      504,
      'deadline_exceeded',
    ],
  ])('refuses %s', async (_, body, fields, status, code) => {
    const answer = await post(body, fields as Record<string, string>);
    expect(answer).toMatchObject({ status, json: { code }, fields: { 'x-request-id': expect.any(String) as string } });
  });

  it('an error has details that the client can decode', async () => {
    const { json } = await post('{');
    const details = json['details'] as { type: string; value: string }[];
    expect(details.map(({ type }) => type)).toEqual(['google.rpc.ErrorInfo', 'google.protobuf.Struct']);
    expect(Buffer.from(details[0]!.value, 'base64').toString()).toContain('INVALID_JSON');
    expect(details.every(({ value }) => !value.includes('='))).toBe(true);
  });

  const get = (query: string, method = 'Metadata', fields: Record<string, string> = {}) =>
    ask(gateway.port, protocol, { path: `/echo.v1.EchoService/${method}?${query}`, fields });

  it.each([
    ['encoding=json&message=%7B%7D&connect=v1'],
    ['connect=v1&encoding=json&base64=1&message=e30'],
    ['encoding=json&base64=1&message=e30%3D&connect=v1'],
    ['message=&encoding=proto&connect=v1'],
    ['encoding=proto&message=&unknown=1'],
    [`connect=v1&encoding=json&base64=1&compression=gzip&message=${gzipSync('{}').toString('base64url')}`],
  ])('GET ?%s', async (query) => {
    const answer = await get(query, 'Metadata', { 'x-custom': 'a' });
    expect(answer.status).toBe(200);
    expect(answer.body.toString('latin1')).toContain('x-custom');
  });

  it.each([
    ['no message', 'encoding=json&connect=v1', 'Metadata', 400],
    ['no encoding', 'message=%7B%7D&connect=v1', 'Metadata', 415],
    ['another encoding', 'message=%7B%7D&connect=v1&encoding=xml', 'Metadata', 415],
    ['what is no base64', 'message=%7B%7D&connect=v1&encoding=json&base64=1', 'Metadata', 400],
    ['what is no gzip', 'message=e30&connect=v1&encoding=json&base64=1&compression=gzip', 'Metadata', 400],
    ['another compression', 'message=e30&connect=v1&encoding=json&base64=1&compression=br', 'Metadata', 501],
    ['a method that may have side effects', 'encoding=json&message=%7B%7D&connect=v1', 'Echo', 405],
    ['a stream', 'encoding=json&message=%7B%7D&connect=v1', 'Count', 405],
    ['no such method', 'encoding=json&message=%7B%7D&connect=v1', 'Nothing', 404],
  ])('GET refuses %s', async (_, query, method, status) => {
    const answer = await get(query, method);
    expect(answer.status).toBe(status);
    if (status === 405) expect(answer.fields['allow']).toBe('POST');
  });

  const stream = (body: Buffer, fields: Record<string, string> = {}) =>
    post(body, { 'content-type': 'application/connect+json', ...fields }, '/echo.v1.EchoService/Collect');
  const framed = (text: string | Buffer, flags = 0) => {
    const bytes = Buffer.from(text as string);
    const prefix = Buffer.from([flags, 0, 0, 0, 0]);
    prefix.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([prefix, bytes]);
  };
  const endOf = (body: Buffer) => {
    expect(body[0]).toBe(2);
    return JSON.parse(body.subarray(5).toString()) as { error?: { code: string } };
  };

  it.each([
    ['a broken envelope', Buffer.from([0, 0, 0, 0, 9, 1]), {}, 'invalid_argument'],
    ['flags that are not known', framed('{}', 4), {}, 'invalid_argument'],
    ['an end of the stream', framed('{}', 2), {}, 'invalid_argument'],
    ['broken JSON', framed('{'), {}, 'invalid_argument'],
    ['a message that is too large', Buffer.from([0, 0x7f, 0, 0, 0]), {}, 'resource_exhausted'],
    ['a compressed message without a coding', framed(gzipSync('{}'), 1), {}, 'invalid_argument'],
    ['a coding that is not known', framed('{}'), { 'connect-content-encoding': 'br' }, 'unimplemented'],
    ['a message that is no gzip', framed('{}', 1), { 'connect-content-encoding': 'gzip' }, 'invalid_argument'],
    [
      'a message that grows too large',
      framed(gzipSync(Buffer.alloc(20_000_000)), 1),
      { 'connect-content-encoding': 'gzip' },
      'resource_exhausted',
    ],
  ])('a stream refuses %s', async (_, body, fields, code) => {
    const answer = await stream(body, fields as Record<string, string>);
    expect(answer).toMatchObject({ status: 200, fields: { 'content-type': 'application/connect+json' } });
    expect(endOf(answer.body).error?.code).toBe(code);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
  });

  it('a stream takes what ends well', async () => {
    const { body } = await stream(Buffer.concat([framed('{"text":"a"}'), framed('{}')]));
    expect(body[0]).toBe(0);
    const length = body.readUInt32BE(1);
    expect(JSON.parse(body.subarray(5, 5 + length).toString())).toEqual({ messages: 2, last: '' });
    expect(endOf(body.subarray(5 + length)).error).toBeUndefined();
  });
});

describe('what a service says', () => {
  let upstream: ScriptedUpstream;
  let scripted: TestGateway;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    scripted = await startTestGateway(upstream.address);
  });
  afterAll(async () => {
    await scripted?.stop();
    await upstream?.stop();
  });

  it('in metadata, trailers and details reaches the client', async () => {
    const detail = Buffer.from('type.googleapis.com/echo.v1.EchoRequest');
    const any = Buffer.concat([Buffer.from([0x0a, detail.length]), detail, Buffer.from([0x12, 3, 0x0a, 1, 0x78])]);
    const status = Buffer.concat([Buffer.from([0x08, 5, 0x1a, any.length]), any]);
    upstream.script = (stream) => {
      stream.respond({ ...GRPC, 'x-head': 'h' }, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({
          'grpc-status': '5',
          'grpc-message': 'gone',
          'grpc-status-details-bin': status.toString('base64'),
          'x-tail': 't',
        }),
      );
      stream.end();
    };
    const error = await failure(clientOf('2', {}, scripted).echo({}));
    expect([error.code, error.rawMessage]).toEqual([Code.NotFound, 'gone']);
    expect([error.metadata.get('x-head'), error.metadata.get('x-tail')]).toEqual(['h', 't']);
    expect(error.findDetails(registry.getMessage('echo.v1.EchoRequest')!)).toMatchObject([{ name: 'x' }]);
    const streamed = await failure(all(clientOf('2', {}, scripted).count({})));
    expect([streamed.code, streamed.metadata.get('x-tail')]).toEqual([Code.NotFound, 't']);
    expect(streamed.findDetails(registry.getMessage('echo.v1.EchoRequest')!)).toMatchObject([{ name: 'x' }]);
  });

  it('of its inside reaches the client as `errors.expose` says, as over gRPC', async () => {
    const inside = { 'grpc-status': '13', 'grpc-message': 'db01 is gone', 'x-tail': 'db01', 'retry-after': '7' };
    upstream.script = (stream) => {
      stream.respond(
        { ...GRPC, ...(upstream.latest[':path'] === '/echo.v1.EchoService/Echo' && { 'x-head': 'db01' }) },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers(inside));
      stream.end(upstream.latest[':path'] === '/echo.v1.EchoService/Count' ? ECHO : undefined);
    };
    const seen: Record<string, unknown[]> = {};
    for (const expose of ['codes', 'text', 'all']) {
      const gateway = await startTestGateway(upstream.address, { upstream: { errors: { expose } } });
      const error = await failure(clientOf('1.1', {}, gateway).echo({}));
      const streamed = await failure(all(clientOf('1.1', {}, gateway).count({})));
      seen[expose] = [error, streamed].map(({ code, rawMessage, metadata }) => [
        code,
        rawMessage.includes('db01'),
        ['x-head', 'x-tail', 'retry-after'].filter((name) => metadata.get(name) !== null),
      ]);
      await gateway.stop();
    }
    const { Internal } = Code;
    expect(seen).toEqual({
      codes: [Internal, Internal].map((code) => [code, false, []]),
      text: [Internal, Internal].map((code) => [code, true, ['retry-after']]),
      all: [
        [Internal, true, ['x-head', 'x-tail', 'retry-after']],
        [Internal, true, ['x-tail', 'retry-after']],
      ],
    });
  });
});
