import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Http2Server } from '@sluice/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway, tlsOptions } from '../../testdata/gateway.js';
import { type Awaited, type Http2Case, Requests, type Verdict } from '../../testdata/http2-case.js';
import { http2FrameSections } from '../../testdata/http2-frame-cases.js';
import { http2MessageSections } from '../../testdata/http2-message-cases.js';
import { END_STREAM, type Frame, RawHttp2, Type } from '../../testdata/raw-http2.js';

/**
 * HTTP/2 section by section, as independent suites try it: on the gateway's port without TLS, over TLS with ALPN, and on the
 * server alone. On no route the answer comes at once; from the service it comes when the request has long been read.
 */

const ACK = 1;
const STREAMS = 128;
const file = (name: string) => fileURLToPath(new URL(`../../testdata/tls/${name}`, import.meta.url));

let echo: EchoServer;
let gateway: TestGateway;
const alone = new Http2Server((stream) => stream.respondWith(200, [], Buffer.from('hello')), {
  maxConcurrentStreams: STREAMS,
});
const listener = createServer((socket) => alone.accept(socket));
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    listener: { tls: tlsOptions([{ cert: file('cert.pem'), key: file('key.pem') }]) },
    http2: { max_streams: STREAMS },
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
  listener.close();
  await alone.close(0);
});

const tcp = (port: number): Socket => connect({ port, host: '127.0.0.1', noDelay: true });
const servers: [string, 'http' | 'https', string, () => Socket][] = [
  ['the gateway, on no route', 'http', '/', () => tcp(gateway.port)],
  ['the gateway, on a route', 'http', '/v1/echo/ann', () => tcp(gateway.port)],
  ['the gateway over TLS, on no route', 'https', '/', () => tls(gateway.listener.tlsPort!)],
  ['the gateway over TLS, on a route', 'https', '/v1/echo/ann', () => tls(gateway.listener.tlsPort!)],
  ['the server alone', 'http', '/', () => tcp((listener.address() as AddressInfo).port)],
];

function tls(port: number): Socket {
  return connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
}

const isAck = ({ type, flags }: Frame) => type === Type.SETTINGS && flags === ACK;
const endsAnswer = ({ type, flags, streamId }: Frame) =>
  streamId === 1 && type <= Type.HEADERS && (flags & END_STREAM) !== 0;
const awaited: Record<Awaited, (frame: Frame) => boolean> = {
  answer: endsAnswer,
  settings: isAck,
  data: ({ type }) => type === Type.DATA,
};

async function converse(socket: Socket, { begins, steps, verdict }: Http2Case): Promise<void> {
  const peer = RawHttp2.on(socket, begins === undefined);
  if (begins) peer.send(begins);
  else await see(peer, 0, isAck);
  /** Where what came after the last of our bytes begins. */
  let from = 0;
  for (const step of steps) {
    if (typeof step === 'string') await see(peer, from, awaited[step]);
    else {
      from = peer.frames.length;
      peer.send(step);
    }
  }
  await judge(peer, from, steps, verdict);
  peer.close();
}

/** The first frame from there on that satisfies `test`. */
async function see(peer: RawHttp2, from: number, test: (frame: Frame) => boolean): Promise<Frame> {
  const found = await peer.find((each) => peer.frames.indexOf(each) >= from && test(each), 2000);
  const shown = peer.frames.map(({ type, flags, streamId }) => `${type}/${flags}/${streamId}`).join(' ');
  expect(found, `${peer.closed ? 'closed' : 'open'} after ${shown}`).toBeDefined();
  return found!;
}

async function judge(peer: RawHttp2, from: number, steps: Http2Case['steps'], verdict: Verdict): Promise<void> {
  switch (verdict.kind) {
    case 'answered':
      await see(peer, 0, ({ type, streamId }) => type === Type.HEADERS && streamId === 1);
      return;
    case 'data': {
      const { payload } = await see(peer, from, ({ type }) => type === Type.DATA);
      expect(payload.length).toBe(verdict.octets);
      return;
    }
    case 'pong': {
      const asked = (steps.at(-1) as Buffer).subarray(9);
      const answer = await see(peer, 0, ({ type }) => type === Type.PING);
      expect(answer).toMatchObject({ flags: ACK, payload: asked });
      return;
    }
    case 'settings':
      await see(peer, from, isAck);
      return;
    case 'opened':
      expect(await see(peer, 0, () => true)).toMatchObject({ type: Type.SETTINGS, flags: 0 });
      return;
    case 'closed':
      expect(await peer.ended(2000)).toBe(true);
      return;
    case 'stream error': {
      const error = await see(peer, 0, ({ type }) => type === Type.RST_STREAM || type === Type.GOAWAY);
      expect(verdict.codes).toContain(error.payload.readUInt32BE(error.type === Type.GOAWAY ? 4 : 0));
      if (error.type === Type.GOAWAY) expect(await peer.ended(2000)).toBe(true);
      return;
    }
    case 'connection error': {
      const error = await see(peer, 0, ({ type }) => type === Type.GOAWAY);
      expect(verdict.codes).toContain(error.payload.readUInt32BE(4));
      expect(await peer.ended(2000)).toBe(true);
    }
  }
}

describe.each(servers)('%s', (_, scheme, path, dial) => {
  const requests = new Requests(path, scheme);
  describe.each([...http2FrameSections(requests, STREAMS), ...http2MessageSections(requests)])(
    '$section',
    ({ cases }) => {
      it.each(cases)('$name', (one) => converse(dial(), one));
    },
  );

  it('serves the next client', async () => {
    const peer = RawHttp2.on(dial());
    peer.headers(1, requests.GET, true);
    expect((await peer.answer(1)).reset).toBeUndefined();
    peer.close();
  });
});
