import { request as requestHttp1, type ClientRequest } from 'node:http';
import { connect, type ClientHttp2Session } from 'node:http2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../testdata/client.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

const SERVING = message(Buffer.from([0x08, 0x01]));
/** What the service of the scene takes on one connection. */
const STREAMS_OF_A_CONNECTION = 250;

let issuer: TestIssuer;
let upstream: ScriptedUpstream;
let gateway: TestGateway | undefined;
const opened: ClientRequest[] = [];
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  issuer = await startIssuer();
  upstream = await startScriptedUpstream(0, { maxConcurrentStreams: STREAMS_OF_A_CONNECTION });
  // Streams begin and then say nothing; calls are answered.
  upstream.script = (stream) => {
    stream.respond(GRPC, { waitForTrailers: true });
    if (/Count|Collect|Chat/.test(String(upstream.latest[':path']))) return;
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(String(upstream.latest[':path']).includes('Health') ? SERVING : ECHO);
  };
});
afterEach(async () => {
  for (const request of opened.splice(0)) request.destroy();
  for (const session of sessions.splice(0)) session.destroy();
  await gateway?.stop();
  gateway = undefined;
});
afterAll(async () => {
  await upstream?.stop();
  issuer?.stop();
});

async function start(over: Record<string, unknown>): Promise<TestGateway> {
  const started = (gateway = await startTestGateway(upstream.address, over));
  await expect.poll(() => started.runtime.verifier?.ready() ?? true).toBe(true);
  return started;
}

interface Opening {
  readonly address?: string;
  readonly token?: string;
}

/** Begins a stream over REST that stays open; the refusal, when there is one. */
function watch({ address = '127.0.0.1', token }: Opening): Promise<{ status: number; body: Record<string, unknown> }> {
  return new Promise((resolve) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { port } = gateway!;
    const sent = requestHttp1(
      { port, host: '127.0.0.1', localAddress: address, path: '/v1/count/1', headers, agent: false },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk));
        response.on('error', () => undefined);
        response.on('end', () => resolve({ status: response.statusCode!, body: JSON.parse(text) }));
      },
    );
    sent.on('error', () => undefined);
    sent.end();
    opened.push(sent);
  });
}

const isOpen = () => gateway!.runtime.upstreams[0]!.streams.open;

async function metric(name: string, labels: Record<string, string>): Promise<number | undefined> {
  const found = gateway!.metrics.getSingleMetric(name);
  const { values } = (await found!.get()) as { values: { labels: Record<string, string>; value: number }[] };
  return values.find((value) => Object.entries(labels).every(([key, text]) => value.labels[key] === text))?.value;
}

describe('idle streams', () => {
  it('of one guest from five addresses keep no call of anybody waiting, and are refused at once beyond a bound', async () => {
    await start({ auth: issuer.auth, upstream: { streams: { max: 2000, max_per_caller: 400, max_per_address: 200 } } });
    const guest = issuer.token({ sub: 'guest', guest: true });
    const honest = async () => {
      const fields = { authorization: `Bearer ${issuer.token()}` };
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a', fields })),
      );
      return answers.map(({ status }) => status);
    };
    expect(new Set(await honest())).toEqual(new Set([200]));
    const refused: { status: number; body: Record<string, unknown> }[] = [];
    for (let index = 0; index < 505; index++) {
      void watch({ address: `127.0.0.${(index % 5) + 1}`, token: guest }).then((answer) => refused.push(answer));
    }
    await expect.poll(() => [isOpen(), refused.length]).toEqual([400, 105]);
    for (const { status, body } of refused) {
      expect([status, body]).toEqual([429, expect.objectContaining({ code: 'RATE_LIMIT_EXCEEDED' })]);
      expect(body['details']).toMatchObject({ blocked_by: 'user', limit: 400 });
    }
    expect(new Set(await honest())).toEqual(new Set([200]));
    expect(await gateway!.runtime.health()).toEqual({ echo: 'SERVING' });
    expect(gateway!.runtime.upstreams[0]!.channel.stats.connections).toBeGreaterThan(1);
    expect(await metric('gateway_streams_open', { upstream: 'echo' })).toBe(400);
    expect(await metric('gateway_streams_refused_total', { bound: 'caller' })).toBe(105);
  });

  it('are refused by the share of streams with 503 and Retry-After, and by the address with 429', async () => {
    await start({ upstream: { streams: { max: 3, max_per_address: 2 } } });
    void watch({});
    void watch({});
    await expect.poll(isOpen).toBe(2);
    const third = await watch({});
    expect([third.status, third.body['code']]).toEqual([429, 'RATE_LIMIT_EXCEEDED']);
    expect(third.body['details']).toMatchObject({ blocked_by: 'ip', limit: 2, retry_after_ms: expect.any(Number) });
    void watch({ address: '127.0.0.2' });
    await expect.poll(isOpen).toBe(3);
    const fourth = await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/count/1' });
    expect(fourth.status).toBe(429);
    const fifth = await watch({ address: '127.0.0.3' });
    expect([fifth.status, fifth.body['code']]).toEqual([503, 'OVERLOADED']);
    expect((await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a' })).status).toBe(200);
    // What ends gives its place back.
    opened[0]!.destroy();
    await expect.poll(isOpen).toBe(2);
  });

  it.each([
    ['gRPC', 'application/grpc', '8'],
    ['gRPC-Web', 'application/grpc-web+proto', '8'],
  ])('are bounded over %s alike, whichever side streams', async (_, contentType, status) => {
    await start({ upstream: { streams: { max: 10, max_per_address: 3 } } });
    const session = connect(gateway!.origin);
    sessions.push(session);
    const open = (method: string) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': `/echo.v1.EchoService/${method}`,
        'content-type': contentType,
        te: 'trailers',
      });
      stream.on('error', () => undefined);
      stream.write(message(Buffer.alloc(0)));
      return stream;
    };
    for (const method of ['Count', 'Collect', 'Chat']) open(method);
    await expect.poll(isOpen).toBe(3);
    const refused = open('Chat');
    let text = '';
    refused.on('response', (fields) => (text += JSON.stringify(fields)));
    refused.on('data', (chunk: Buffer) => (text += chunk));
    await new Promise((resolve) => refused.on('end', resolve).resume());
    expect(text).toMatch(new RegExp(`grpc-status"?: ?"?${status}`));
    const unary = await ask(gateway!.port, 'HTTP/2', { path: '/v1/echo/a' });
    expect(unary.status).toBe(200);
  });

  it('leave half of the room to calls where a service takes few streams on few connections', async () => {
    await upstream.stop();
    upstream = Object.assign(await startScriptedUpstream(0, { maxConcurrentStreams: 4 }), { script: upstream.script });
    await start({ upstream: { connections: 2 } });
    expect((await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a' })).status).toBe(200);
    const refused: number[] = [];
    for (let index = 0; index < 10; index++) void watch({}).then(({ status }) => refused.push(status));
    await expect.poll(() => [isOpen(), ...refused]).toEqual([4, 503, 503, 503, 503, 503, 503]);
    const calls = Array.from({ length: 50 }, () => ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a' }));
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]));
  });
});

it('gRPC calls whose one message never ends hold no place at the service, and no stream of its connections', async () => {
  await start({});
  const before = (await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a' })).status;
  const session = connect(gateway!.origin);
  sessions.push(session);
  for (let index = 0; index < 100; index++) {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/echo.v1.EchoService/Echo',
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '50S',
    });
    stream.on('error', () => undefined);
    stream.write(Buffer.from([0, 0]));
    setTimeout(() => stream.write(Buffer.from([0, 0])), 5);
  }
  await expect.poll(() => gateway!.runtime.inFlight.calls).toBe(100);
  const { channel } = gateway!.runtime.upstreams[0]!;
  expect(channel.stats).toMatchObject({ streams: 0, inFlight: 0 });
  expect([before, (await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a' })).status]).toEqual([200, 200]);
});

describe('an open stream', () => {
  const forms = [
    ['REST', {}, 'SESSION_REVOKED', 'TOKEN_EXPIRED', 'DEADLINE_EXCEEDED'],
    ['gRPC', { 'content-type': 'application/grpc' }, 'grpc-status":"16', 'grpc-status":"16', 'grpc-status":"4'],
    [
      'gRPC-Web',
      { 'content-type': 'application/grpc-web+proto' },
      'grpc-status: 16',
      'grpc-status: 16',
      'grpc-status: 4',
    ],
    [
      'Connect',
      { 'content-type': 'application/connect+json' },
      'unauthenticated',
      'unauthenticated',
      'deadline_exceeded',
    ],
  ] as const;
  const secondsFromNow = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

  /** Opens one whose service says something right away; what arrives, and its trailers at the end. */
  function open(fields: Readonly<Record<string, string>>, token: string) {
    const { script } = upstream;
    upstream.script = (stream) => {
      script(stream);
      if (String(upstream.latest[':path']).includes('Count')) stream.write(ECHO);
    };
    const session = connect(gateway!.origin);
    sessions.push(session);
    const rest = !('content-type' in fields);
    const path = rest ? '/v1/count/1' : '/echo.v1.EchoService/Count';
    const authorization = `Bearer ${token}`;
    const stream = session.request({ ':method': rest ? 'GET' : 'POST', ':path': path, authorization, ...fields });
    const state = { text: '', ended: false };
    const empty = Buffer.from(
      fields['content-type'] === 'application/connect+json' ? [0, 0, 0, 0, 2, 0x7b, 0x7d] : [0, 0, 0, 0, 0],
    );
    stream.end(rest ? undefined : empty);
    stream.on('data', (chunk: Buffer) => (state.text += chunk.toString('latin1')));
    stream.on('trailers', (trailers) => (state.text += JSON.stringify(trailers)));
    stream.on('error', () => undefined);
    stream.on('close', () => (state.ended = true));
    return state;
  }

  it.each(forms)('ends with its session: %s', async (_, fields, told) => {
    await start({ auth: issuer.auth });
    const [own, other] = [open(fields, issuer.token({ sid: 'one' })), open(fields, issuer.token({ sid: 'another' }))];
    await expect.poll(() => own.text.length * other.text.length).toBeGreaterThan(0);
    gateway!.runtime.verifier!.revoke('one', Date.now() + 60_000);
    await expect.poll(() => own.ended).toBe(true);
    expect(own.text).toContain(told);
    expect(other.ended).toBe(false);
    await expect.poll(isOpen).toBe(1);
    expect(await metric('gateway_streams_ended_total', { cause: 'session' })).toBe(1);
  });

  it.each(forms)('ends with its token: %s', async (_, fields, _session, told) => {
    await start({ auth: issuer.auth });
    const own = open(fields, issuer.token({ exp: secondsFromNow(3) }));
    await expect.poll(() => own.text.length).toBeGreaterThan(0);
    await expect.poll(() => own.ended).toBe(true);
    expect(own.text).toContain(told);
    expect(await metric('gateway_streams_ended_total', { cause: 'token' })).toBe(1);
  });

  it('goes on while its session shows tokens, or without an end, as the configuration says', async () => {
    await start({ auth: { ...issuer.auth, stream_expiry: 'session' } });
    const silent = open({}, issuer.token({ sid: 'silent', exp: secondsFromNow(3) }));
    const shown = open({}, issuer.token({ sid: 'shown', exp: secondsFromNow(3) }));
    await expect.poll(isOpen).toBe(2);
    const fields = { authorization: `Bearer ${issuer.token({ sid: 'shown' })}` };
    expect((await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/echo/a', fields })).status).toBe(200);
    await expect.poll(() => silent.ended).toBe(true);
    expect(shown.ended).toBe(false);
    gateway!.runtime.verifier!.revoke('shown', Date.now() + 60_000);
    await expect.poll(() => shown.ended).toBe(true);
    await gateway!.stop();
    await start({ auth: { ...issuer.auth, stream_expiry: 'ignore' } });
    const exp = secondsFromNow(3);
    const forever = open({}, issuer.token({ exp }));
    await expect.poll(isOpen).toBe(1);
    await expect.poll(Date.now).toBeGreaterThan(exp * 1000 + 500);
    expect(forever.ended).toBe(false);
  });

  it.each(forms)(
    'ends when nothing is said in it for too long, and not before: %s',
    async (_, fields, _session, _token, told) => {
      await start({ auth: issuer.auth, upstream: { streams: { idle: '1s' } } });
      const idle = open(fields, issuer.token());
      await expect.poll(() => idle.ended).toBe(true);
      expect(idle.text).toContain(told);
      const { script } = upstream;
      let messages = 0;
      upstream.script = (stream) => {
        stream.respond(GRPC);
        const timer = setInterval(() => (messages++, stream.write(ECHO)), 40);
        stream.on('close', () => clearInterval(timer));
      };
      const busy = open(fields, issuer.token());
      await expect.poll(() => messages).toBeGreaterThan(40);
      expect(busy.ended).toBe(false);
      upstream.script = script;
    },
  );
});
