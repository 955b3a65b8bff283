import { once } from 'node:events';
import { request as requestHttp1, type IncomingMessage } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScriptedUpstream();
});
afterEach(() => gateway.stop());
afterAll(() => upstream?.stop());

async function start(streams: object = {}, over: Record<string, unknown> = {}): Promise<void> {
  const { upstream: more, ...rest } = over;
  gateway = await startTestGateway(upstream.address, { upstream: { streams, ...(more as object) }, ...rest });
}

/** The service sends what it is given, then its trailers. */
const sends = (pieces: readonly Buffer[], trailers: Record<string, string>) => (stream: ServerHttp2Stream) => {
  stream.respond(GRPC, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  for (const piece of pieces) stream.write(piece);
  stream.end();
};
const failsAfterOne = sends([ECHO], { 'grpc-status': '9', 'grpc-message': 'not now' });

/** An answer whose header fields have come; `until` reads on until its text so far is as expected. */
async function open(accept: string, path = '/v1/count/1') {
  const sent = requestHttp1({ port: gateway.port, host: '127.0.0.1', path, headers: { accept }, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  response.on('error', () => undefined);
  response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  return { response, until: (shape: RegExp) => expect.poll(() => text).toMatch(shape), leave: () => sent.destroy() };
}

const FORMS = ['application/x-ndjson', 'text/event-stream', 'application/json'] as const;

describe('an answer that streams', () => {
  it.each(FORMS)('as %s begins with the service’s metadata, before there is a message', async (accept) => {
    await start({ headers_after: 'none' });
    upstream.script = (stream) => stream.respond({ ...GRPC, 'set-cookie': 'a=1', 'x-http-code': '202' });
    const { response, leave } = await open(accept);
    expect(response.statusCode).toBe(202);
    expect(response.headers['content-type']).toBe(accept);
    expect(response.headers['set-cookie']).toEqual(['a=1']);
    leave();
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
  });

  it.each(FORMS)('as %s begins soon when the service says nothing, and a failure is told in it', async (accept) => {
    await start({ headers_after: '50ms' });
    let finish: (() => void) | undefined;
    upstream.script = (stream) => {
      finish = () => stream.respond({ ...GRPC, 'grpc-status': '5', 'grpc-message': 'gone' }, { endStream: true });
    };
    const { response, until } = await open(accept);
    expect(response.statusCode).toBe(200);
    await expect.poll(() => finish).toBeDefined();
    finish!();
    await until(/"code":"NOT_FOUND"/);
    await until(/"detail":"gone"/);
  });

  it('whose service fails at once has the status of that', async () => {
    await start();
    upstream.script = sends([], { 'grpc-status': '5' });
    for (const accept of FORMS) expect((await open(accept)).response.statusCode).toBe(404);
  });

  it.each([
    ['application/x-ndjson', /^\{"name":"x"[^\n]*\}\n\n\n/],
    ['text/event-stream', /^data: \{"name":"x".*\}\n\n: ping\n\n: ping\n\n/],
    ['application/json', /^\[\{"name":"x"[^\n]*\}\n\n/],
  ])('as %s gives a sign of life in silence, and is whole all the same', async (accept, shape) => {
    await start({ heartbeat: '30ms' });
    let upstreams: ServerHttp2Stream;
    upstream.script = (stream) => {
      upstreams = stream;
      stream.respond(GRPC, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.write(ECHO);
    };
    const { response, until } = await open(accept);
    await until(shape);
    upstreams!.end(ECHO);
    await once(response, 'end');
    await until(/"x"[^]*"x"/);
    await until(accept === 'application/json' ? /\]$/ : /\n$/);
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
  });

  it('is over for HEAD when it has begun, and so is the call', async () => {
    await start();
    const closed: number[] = [];
    upstream.script = (stream) => {
      stream.respond(GRPC);
      stream.on('close', () => closed.push(stream.rstCode));
    };
    for (const protocol of protocols) {
      const { status, body } = await ask(gateway.port, protocol, { method: 'HEAD', path: '/v1/count/1' });
      expect([status, body.length]).toEqual([200, 0]);
    }
    await expect.poll(() => closed).toEqual([8, 8]);
    expect(gateway.runtime.inFlight.calls).toBe(0);
  });

  it('of events that are bytes gives one only where an event has ended', async () => {
    await start({ heartbeat: '30ms' });
    let upstreams: ServerHttp2Stream;
    upstream.script = (stream) => {
      upstreams = stream;
      stream.respond(GRPC);
      stream.write(body('text/event-stream', ''));
    };
    const { response, until, leave } = await open('*/*', '/v1/download/1');
    expect(response.headers['content-type']).toBe('text/event-stream');
    await until(/^(: ping\n\n)+$/);
    upstreams!.write(body('', 'data: a\n'));
    await until(/data: a\n$/);
    upstreams!.write(body('', '\n'));
    await until(/data: a\n\n(: ping\n\n)+$/);
    upstreams!.write(body('', 'data: half'));
    setTimeout(() => upstreams.write(body('', '\n\n')), 150);
    await until(/data: half\n\n(: ping\n\n)+$/);
    leave();
  });

  it('gives none where it is told so, and none among bytes', async () => {
    upstream.script = (stream) => {
      stream.respond(GRPC, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.write(String(upstream.latest[':path']).endsWith('Download') ? HELLO : ECHO);
      setTimeout(() => stream.end(), 100);
    };
    await start({ heartbeat: 'none' });
    expect((await ask(gateway.port, 'HTTP/2', { path: '/v1/count/1' })).body.toString()).toMatch(/^[^\n]*\n$/);
    await gateway.stop();
    await start({ heartbeat: '20ms', headers_after: '10ms' });
    const answer = await ask(gateway.port, 'HTTP/2', { path: '/v1/download/1' });
    expect(answer.body.toString()).toBe('hello');
    expect(answer.fields['content-type']).toBe('text/csv');
  });
});

/** `HttpBody { content_type, data }` of less than 128 octets each. */
const body = (type: string, data: string) =>
  message(
    Buffer.concat([
      Buffer.from([0x0a, type.length]),
      Buffer.from(type),
      Buffer.from([0x12, data.length]),
      Buffer.from(data),
    ]),
  );
const HELLO = body('text/csv', 'hello');

describe('the error of a stream', () => {
  it.each([
    ['application/x-ndjson', /\n\{"error":(.*)\}\n$/],
    ['text/event-stream', /event: error\ndata: (.*)\n\n$/],
  ])('as %s has the configured format', async (accept, shape) => {
    upstream.script = failsAfterOne;
    const told = async () =>
      JSON.parse(
        shape.exec(
          (await ask(gateway.port, 'HTTP/2', { path: '/v1/count/1', fields: { accept } })).body.toString(),
        )![1]!,
      );
    await start();
    expect(await told()).toMatchObject({ code: 'FAILED_PRECONDITION', detail: 'not now', status: 400 });
    await gateway.stop();
    await start({}, { errors: { format: 'status' } });
    expect(await told()).toEqual({
      code: 9,
      message: 'not now',
      details: [expect.objectContaining({ domain: 'sluice.dev' })],
    });
  });

  it('and its messages stand in envelopes for clients of grpc-gateway', async () => {
    upstream.script = failsAfterOne;
    await start({ envelope: 'result' }, { errors: { format: 'status' } });
    const answer = await ask(gateway.port, 'HTTP/1.1', { path: '/v1/count/1' });
    expect(answer.fields['content-type']).toBe('application/json');
    expect(
      answer.body
        .toString()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { result: expect.objectContaining({ name: 'x' }) },
      { error: expect.objectContaining({ code: 9, message: 'not now' }) },
    ]);
  });
});

describe('the time of a stream', () => {
  const forms = {
    REST: { path: '/v1/count/1' },
    gRPC: {
      method: 'POST',
      path: '/echo.v1.EchoService/Count',
      fields: { 'content-type': 'application/grpc', te: 'trailers' } as Record<string, string>,
      body: message(Buffer.alloc(0)),
    },
  };

  it.each(Object.entries(forms))('over %s can be without end', async (_, request) => {
    upstream.script = sends([ECHO], { 'grpc-status': '0' });
    await start({}, { upstream: { stream_timeout: 'none', timeouts: { 'echo.v1.EchoService.Echo': 'none' } } });
    expect((await ask(gateway.port, 'HTTP/2', request)).status).toBe(200);
    expect(upstream.latest).not.toHaveProperty('grpc-timeout');
    expect((await ask(gateway.port, 'HTTP/2', { path: '/v1/echo/a' })).status).toBe(200);
    expect(upstream.latest).not.toHaveProperty('grpc-timeout');
  });

  it.each(Object.entries(forms))('over %s ends as such, whatever the service calls it', async (_, request) => {
    await start({}, { upstream: { stream_timeout: '300ms' } });
    for (const code of ['1', '2', '13']) {
      upstream.script = (stream) => {
        stream.respond(GRPC, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': code, 'grpc-message': 'context over' }));
        stream.write(ECHO);
        setTimeout(() => stream.end(), 298);
      };
      const { body, trailers } = await ask(gateway.port, 'HTTP/2', request);
      if (request === forms.REST) expect(body.toString()).toContain('"code":"DEADLINE_EXCEEDED"');
      else expect(trailers['grpc-status']).toBe('4');
    }
  });

  it('can be asked for up to what it would be without asking', async () => {
    upstream.script = sends([ECHO], { 'grpc-status': '0' });
    await start({}, { timeouts: { max: '3s' }, upstream: { stream_timeout: '20s' } });
    const asked = async (path: string, time: string) => {
      await ask(gateway.port, 'HTTP/1.1', { path, fields: { 'x-request-timeout': time } });
      return Math.ceil(Number(/^\d+/.exec(String(upstream.latest['grpc-timeout']))![0]) / 1000);
    };
    expect(await asked('/v1/count/1', '10s')).toBe(10);
    expect(await asked('/v1/count/1', '60s')).toBe(20);
    expect(await asked('/v1/echo/a', '10s')).toBe(3);
  });
});
