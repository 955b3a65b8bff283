import { connect, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseAnswers } from '../../testdata/raw-http1.js';
import { echoPackage, type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

const METHOD_MS = 400;
const PIECES = 6;
/** So long between two pieces of a body: all of them take longer than the method may. */
const PAUSE_MS = 120;

let echo: EchoServer;
let gateway: TestGateway;
let session: ClientHttp2Session;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    upstream: { timeout: `${METHOD_MS}ms`, max_message: '64KiB', max_body: { 'echo.v1.EchoService.Collect': '1KiB' } },
    timeouts: { request: '20s' },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});
beforeEach(() => {
  session = connect(gateway.origin).on('error', () => undefined);
});
afterEach(() => session.destroy());

const service = echoPackage.echo.v1.EchoService.service;
const encoded = (method: string, value: object) => message(service[method]!.requestSerialize(value));
const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

interface Ended {
  status: number;
  fields: Record<string, unknown>;
  body: Buffer;
}

/** A request whose body comes in pieces, slowly. */
async function slowly(path: string, fields: Record<string, string>, body: Buffer, pieces = PIECES): Promise<Ended> {
  const stream = session.request({ ':method': 'POST', ':path': path, ...fields });
  const chunks: Buffer[] = [];
  let ended: Ended | undefined;
  let seen: Record<string, unknown> = {};
  stream.on('response', (head) => (seen = { ...seen, ...head }));
  stream.on('trailers', (trailers) => (seen = { ...seen, ...trailers }));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => undefined);
  stream.on('close', () => {
    ended = { status: Number(seen[':status']), fields: seen, body: Buffer.concat(chunks) };
  });
  const size = Math.ceil(body.length / pieces);
  for (let at = 0; at < body.length && ended === undefined; at += size) {
    stream.write(body.subarray(at, at + size));
    if (at + size < body.length) await pause();
  }
  stream.end();
  await vi.waitUntil(() => ended !== undefined, { timeout: 20_000 });
  return ended!;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const GRPC_TYPE = { 'content-type': 'application/grpc', te: 'trailers' };
const text = Buffer.from(JSON.stringify({ text: 'hello'.repeat(20) }));

describe('an upload that takes longer than the method may', () => {
  it('over HTTP/2: the time of the method begins with its end', async () => {
    expect((await slowly('/v1/echo/ann', JSON_TYPE, text)).status).toBe(200);
  });

  it('over HTTP/1.1', async () => {
    const socket = connectTcp(gateway.port, '127.0.0.1').on('error', () => undefined);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.write(`POST /v1/echo/ann HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${text.length}\r\n`);
    socket.write('Content-Type: application/json\r\n\r\n');
    for (let at = 0; at < text.length; at += 20) {
      await pause();
      socket.write(text.subarray(at, at + 20));
    }
    await new Promise((resolve) => socket.on('close', resolve));
    expect(parseAnswers(Buffer.concat(chunks))[0]).toMatchObject({ status: 200 });
  });

  it('over gRPC', async () => {
    const answer = await slowly('/echo.v1.EchoService/Echo', GRPC_TYPE, encoded('Echo', { text: 'hello' }), 10);
    expect(answer.fields).toMatchObject({ 'grpc-status': '0' });
  });

  it.each([
    ['JSON', '/v1/raw', { 'content-type': 'text/plain' }],
    ['gRPC', '/echo.v1.EchoService/Raw', GRPC_TYPE],
  ])('by %s has the time that the client asked for from its request on', async (_, path, type) => {
    const body = type === GRPC_TYPE ? encoded('Raw', { data: Buffer.alloc(100) }) : Buffer.alloc(100, 'x');
    const asked: Record<string, string> =
      type === GRPC_TYPE ? { 'grpc-timeout': '300m' } : { 'x-request-timeout': '300ms' };
    const answer = await slowly(path, { ...type, ...asked }, body, 40);
    expect(answer.status === 504 || answer.fields['grpc-status'] === '4').toBe(true);
  });

  it('and a service that does not answer it still has no more time than the method', async () => {
    const began = performance.now();
    const answer = await slowly('/echo.v1.EchoService/Hang', GRPC_TYPE, encoded('Echo', { text: 'x'.repeat(100) }), 4);
    expect(answer.fields).toMatchObject({ 'grpc-status': '4' });
    // Less than the time that an upload may take.
    expect(performance.now() - began).toBeLessThan(15_000);
  });

  it('the service is told of the time of the method, when the message comes in one piece', async () => {
    const answer = await slowly('/echo.v1.EchoService/Metadata', GRPC_TYPE, encoded('Metadata', {}), 1);
    const { deadline_ms } = service['Metadata']!.responseDeserialize(answer.body.subarray(5)) as {
      deadline_ms: string;
    };
    expect(Number(deadline_ms)).toBeGreaterThan(0);
    expect(Number(deadline_ms)).toBeLessThanOrEqual(METHOD_MS);
  });
});

describe('messages over gRPC that are larger than allowed', () => {
  const large = (octets: number) => encoded('Echo', { text: 'x'.repeat(octets) });

  it.each([
    ['gRPC', GRPC_TYPE],
    ['gRPC-Web', { 'content-type': 'application/grpc-web+proto' }],
  ])('by %s: the request is refused as soon as its length is known', async (_, type) => {
    const answer = await slowly('/echo.v1.EchoService/Echo', type, large(70_000).subarray(0, 100), 1);
    const said = `${JSON.stringify(answer.fields)} ${answer.body.toString('latin1')}`;
    expect(said).toMatch(/grpc-status"?: ?"?8/);
    expect(said).toContain('larger than 65536');
  });

  it('by the bound of the method, when that is less', async () => {
    const answer = await slowly('/echo.v1.EchoService/Collect', GRPC_TYPE, large(2_000), 1);
    expect(answer.fields).toMatchObject({ 'grpc-status': '8' });
  });

  it('up to it they pass', async () => {
    const answer = await slowly('/echo.v1.EchoService/Echo', GRPC_TYPE, large(65_000), 1);
    expect(answer.fields).toMatchObject({ 'grpc-status': '0' });
  });

  it('an answer is cut off, and says why', async () => {
    const ask = encoded('Count', { count: 2, size: 70_000 });
    const answer = await slowly('/echo.v1.EchoService/Count', GRPC_TYPE, ask, 1);
    expect(answer.fields).toMatchObject({ 'grpc-status': '8' });
  });
});

it('what a service says is logged as it was before it was encoded', async () => {
  const upstream: ScriptedUpstream = await startScriptedUpstream();
  const behind = await startTestGateway(upstream.address);
  const failed = vi.spyOn(behind.runtime.log, 'failed');
  upstream.script = (stream) =>
    stream.respond({ ...GRPC, 'grpc-status': '13', 'grpc-message': 'disk %C3%BCbervoll%0A' }, { endStream: true });
  session.destroy();
  session = connect(behind.origin);
  for (const [path, type] of [
    ['/echo.v1.EchoService/Echo', GRPC_TYPE],
    ['/v1/echo/ann', JSON_TYPE],
  ] as const) {
    await slowly(path, type, type === GRPC_TYPE ? encoded('Echo', {}) : text, 1);
    const problem = failed.mock.lastCall![1];
    expect(`${problem.message} ${String(problem.cause)}`).toContain('disk übervoll\n');
  }
  await behind.stop();
  await upstream.stop();
});
