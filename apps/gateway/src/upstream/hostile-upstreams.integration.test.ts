import { createServer, type AddressInfo, type Server } from 'node:net';
import type { ServerHttp2Stream } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type Ask, ask, protocols } from '../../testdata/client.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { oneAnswer } from '../../testdata/raw-http1.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

let upstream: ScriptedUpstream;
let gateway: TestGateway;
beforeAll(async () => {
  upstream = await startScriptedUpstream();
  gateway = await startTestGateway(upstream.address);
});
afterAll(async () => {
  await gateway?.stop();
  await upstream?.stop();
});

/** The ways in which a client can make one call that has one answer, and how each says how it ended. */
const forms: readonly { name: string; request: Ask; status: (answer: Answer) => number }[] = [
  { name: 'JSON', request: { path: '/v1/echo/a' }, status: (answer) => answer.status },
  {
    name: 'gRPC-Web',
    request: {
      method: 'POST',
      path: '/echo.v1.EchoService/Echo',
      fields: { 'content-type': 'application/grpc-web+proto', 'grpc-timeout': '1S' },
      body: message(Buffer.alloc(0)),
    },
    status: (answer) => Number(/grpc-status: ?(\d+)/.exec(answer.body.toString())?.[1]),
  },
];
const grpc: (typeof forms)[number] = {
  name: 'gRPC',
  request: {
    ...forms[1]!.request,
    fields: { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '1S' },
  },
  status: (answer) => Number(answer.trailers['grpc-status'] ?? answer.fields['grpc-status']),
};
const json = { ...forms[0]!.request, fields: { 'x-request-timeout': '1s' } };

const huge = message(Buffer.alloc(64 * 1024, 0x0a));
const pour = (stream: ServerHttp2Stream) => {
  stream.respond(GRPC);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(1024 ** 3, 1);
  stream.write(head);
  const more = () => {
    while (!stream.destroyed) if (!stream.write(huge)) return void stream.once('drain', more);
  };
  more();
};

/** What the upstream does; the HTTP status over REST; the gRPC status otherwise. */
const faults: [string, (stream: ServerHttp2Stream) => void, number, number][] = [
  ['resets the stream', (stream) => stream.close(2), 500, 13],
  ['refuses every attempt', (stream) => stream.close(7), 503, 14],
  ['cuts the connection', (stream) => stream.session!.socket.destroy(), 503, 14],
  ['says nothing until the deadline', () => undefined, 504, 4],
  ['begins and then says nothing', (stream) => (stream.respond(GRPC), stream.write(ECHO.subarray(0, 4))), 504, 4],
  [
    'closes between HEADERS and DATA',
    (stream) => (stream.respond(GRPC), setImmediate(() => stream.session!.destroy())),
    503,
    14,
  ],
  ['ends without grpc-status', (stream) => (stream.respond(GRPC), stream.end(ECHO)), 500, 2],
  [
    'answers HTML',
    (stream) => (stream.respond({ ':status': 200, 'content-type': 'text/html' }), stream.end('<p>')),
    500,
    2,
  ],
  ['answers 502', (stream) => stream.respond({ ':status': 502 }, { endStream: true }), 503, 14],
  ['answers 404 with a page', (stream) => (stream.respond({ ':status': 404 }), stream.end('gone')), 501, 12],
  [
    'sends trailers only',
    (stream) => stream.respond({ ...GRPC, 'grpc-status': 5, 'grpc-message': 'no%20such' }, { endStream: true }),
    404,
    5,
  ],
  [
    'speaks of its inside',
    (stream) => stream.respond({ ...GRPC, 'grpc-status': 13, 'grpc-message': 'db01 password' }, { endStream: true }),
    500,
    13,
  ],
  [
    'gives a status that is none',
    (stream) => stream.respond({ ...GRPC, 'grpc-status': 'x' }, { endStream: true }),
    500,
    2,
  ],
  [
    'is the one that has had enough',
    (stream) => stream.respond({ ...GRPC, 'grpc-status': 8 }, { endStream: true }),
    429,
    8,
  ],
];

describe.each(protocols)('%s: an upstream that', (protocol) => {
  it.each(faults)('%s', async (_, script, status, grpcStatus) => {
    upstream.script = script;
    const rest = await ask(gateway.port, protocol, json);
    expect(rest.status).toBe(status);
    expect(rest.json).toMatchObject({ status, code: expect.any(String) });
    for (const form of protocol === 'HTTP/2' ? [...forms.slice(1), grpc] : forms.slice(1)) {
      const answer = await ask(gateway.port, protocol, form.request);
      expect(answer.status).toBe(200);
      expect([grpcStatus, grpcStatus === 2 ? 13 : grpcStatus], form.name).toContain(form.status(answer));
    }
    expect(rest.body.toString() + JSON.stringify(rest.fields)).not.toContain('db01');
  });

  it('sends a message of a gigabyte, of which little is kept', async () => {
    upstream.script = pour;
    const before = process.memoryUsage().arrayBuffers;
    const answer = await ask(gateway.port, protocol, json);
    expect(answer.status).toBe(500);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
  });

  it('sends garbage as a message', async () => {
    upstream.script = (stream) => {
      stream.respond(GRPC, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(message(Buffer.from([0xff, 0xff, 0xff])));
    };
    expect((await ask(gateway.port, protocol, json)).json).toMatchObject({ status: 500, code: 'INTERNAL' });
  });
});

describe('an answer that breaks after its first message', () => {
  const breaks: [string, (stream: ServerHttp2Stream) => void][] = [
    ['a reset', (stream) => stream.close(2)],
    ['a lost connection', (stream) => stream.session!.socket.destroy()],
    [
      'an error in the trailers',
      (stream) => {
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '9' }));
        stream.end();
      },
    ],
  ];
  const start = (finish: (stream: ServerHttp2Stream) => void) => (stream: ServerHttp2Stream) => {
    stream.respond(GRPC, { waitForTrailers: true });
    stream.write(ECHO, () => setTimeout(() => finish(stream), 20));
  };
  describe.each(protocols)('%s', (protocol) => {
    it.each(breaks)('%s', async (_, finish) => {
      upstream.script = start(finish);
      const read = (accept: string) => ask(gateway.port, protocol, { path: '/v1/count/3', fields: { accept } });

      const lines = (await read('application/x-ndjson')).body.toString().trim().split('\n');
      expect(lines.map((line) => Object.keys(JSON.parse(line)))).toEqual([expect.arrayContaining(['name']), ['error']]);

      const events = (await read('text/event-stream')).body.toString();
      expect(events).toMatch(/^data: \{"name":"x"/);
      expect(events).toMatch(/event: error\ndata: \{.*"code":/);

      const whole = await read('application/json').then(
        ({ body }) => body.toString(),
        () => 'reset',
      );
      expect(() => (Array.isArray(JSON.parse(whole)) ? 'complete' : 'other')).toThrow();

      const web = await ask(gateway.port, protocol, { ...forms[1]!.request, path: '/echo.v1.EchoService/Count' });
      expect(web.body.subarray(0, ECHO.length)).toEqual(ECHO);
      expect(web.body.toString()).toMatch(/grpc-status: [1-9]/);
      if (protocol === 'HTTP/2') {
        const native = await ask(gateway.port, protocol, { ...grpc.request, path: '/echo.v1.EchoService/Count' });
        expect(Number(native.trailers['grpc-status'])).toBeGreaterThan(0);
      }
    });
  });

  it('a JSON array over HTTP/1.1 is cut, so that its chunks never end', async () => {
    upstream.script = start((stream) => stream.close(2));
    const bytes = 'GET /v1/count/3 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n';
    const answer = await oneAnswer(gateway.port, bytes);
    expect(answer.complete && answer.body.endsWith(']')).toBe(false);
  });
});

describe('addresses', () => {
  const silent: Server[] = [];
  afterAll(() => silent.forEach((server) => server.close()));

  it('three of four are dead, one of them mute: every call is answered, and soon all of them by the living one', async () => {
    const mute = createServer();
    silent.push(mute);
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const mutePort = (mute.address() as AddressInfo).port;
    upstream.script = (stream) => {
      stream.respond(GRPC, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(ECHO);
    };
    const several = await startTestGateway(`127.0.0.1:1,127.0.0.1:2,127.0.0.1:${mutePort},${upstream.address}`);
    const round = () =>
      Promise.all(Array.from({ length: 50 }, () => ask(several.port, 'HTTP/1.1', { path: '/v1/echo/a' })));
    for (const { status } of await round()) expect([200, 503]).toContain(status);
    for (const { status } of await round()) expect(status).toBe(200);
    await several.stop();
  });

  it('comes back within seconds of the upstream, and other upstreams never notice', async () => {
    const scripted = await startScriptedUpstream();
    const port = Number(scripted.address.split(':')[1]);
    const answering = (each: ScriptedUpstream) => {
      each.script = (stream) => {
        stream.respond(GRPC, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(ECHO);
      };
    };
    answering(scripted);
    answering(upstream);
    const lone = await startTestGateway(scripted.address);
    const call = (gate: TestGateway) =>
      ask(gate.port, 'HTTP/1.1', { path: '/v1/echo/a', fields: { 'x-request-timeout': '500ms' } });
    expect((await call(lone)).status).toBe(200);
    await scripted.stop();
    for (let index = 0; index < 20; index++) {
      expect((await call(lone)).status).toBeGreaterThanOrEqual(503);
      expect((await call(gateway)).status).toBe(200);
    }
    const again = await startScriptedUpstream(port);
    answering(again);
    await expect.poll(async () => (await call(lone)).status, { timeout: 8000, interval: 100 }).toBe(200);
    await lone.stop();
    await again.stop();
  });
});

it('sheds at once with Retry-After when the queue is full, and recovers', async () => {
  upstream.script = () => undefined;
  const narrow = await startTestGateway(upstream.address, {
    upstream: { connections: 1, max_concurrent: 2, max_queued: 2 },
  });
  const call = () => ask(narrow.port, 'HTTP/1.1', { path: '/v1/echo/a', fields: { 'x-request-timeout': '1500ms' } });
  const waiting = Array.from({ length: 4 }, call);
  await expect.poll(() => narrow.runtime.inFlight.calls).toBe(4);
  const started = performance.now();
  const shed = await Promise.all(Array.from({ length: 20 }, call));
  for (const answer of shed) {
    expect(answer.status).toBe(503);
    expect(answer.json).toMatchObject({ code: 'OVERLOADED' });
    expect(Number(answer.fields['retry-after'])).toBeGreaterThan(0);
  }
  expect(performance.now() - started).toBeLessThan(1000);
  for (const { status } of await Promise.all(waiting)) expect([503, 504]).toContain(status);
  upstream.script = (stream) => stream.respond({ ...GRPC, 'grpc-status': 5 }, { endStream: true });
  expect((await call()).status).toBe(404);
  await narrow.stop();
});

it('bounds the deadline that a client asks for, and passes it on', async () => {
  upstream.script = (stream) => stream.respond({ ...GRPC, 'grpc-status': 5 }, { endStream: true });
  const bounded = await startTestGateway(upstream.address, { timeouts: { max: '3s' } });
  for (const [field, value, most] of [
    ['x-request-timeout', '100000', 3000],
    ['grpc-timeout', '5H', 3000],
    ['x-request-timeout', '1.5', 1500],
  ] as const) {
    await ask(bounded.port, 'HTTP/1.1', { path: '/v1/echo/a', fields: { [field]: value } });
    const [, amount, unit] = /^(\d+)([mun])$/.exec(upstream.latest['grpc-timeout'] as string)!;
    const ms = Number(amount) / { m: 1, u: 1e3, n: 1e6 }[unit as 'm' | 'u' | 'n'];
    expect(ms).toBeLessThanOrEqual(most);
    expect(ms).toBeGreaterThan(most - 500);
  }
  await bounded.stop();
});
