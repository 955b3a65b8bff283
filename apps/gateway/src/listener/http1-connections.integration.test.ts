import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { type Conversation, converse } from '../../testdata/conversation.js';
import { CLOSE, echoOf, get, nameOf, parseAnswers, sendRaw } from '../../testdata/raw-http1.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../../testdata/scripted-upstream.js';

/** How connections of HTTP/1.1 are kept, shared and ended (RFC 9112 sections 2.2 and 9). */

let echo: EchoServer;
let gateway: TestGateway;
let client: Conversation;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    sizes: { body: '1MiB' },
    timeouts: { send: '1s', headers: '2s' },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});
beforeEach(() => (client = converse(gateway.port)));
afterEach(async () => {
  client.socket.destroy();
  await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
  await expect.poll(() => echo.hanging()).toBe(0);
});

describe('RFC 9112 §9.3 persistence', () => {
  it('one request after the other', async () => {
    for (const name of ['a', 'b', 'c']) {
      client.send(echoOf(name));
      expect(nameOf((await client.answer()).body)).toBe(name);
    }
    expect(client.closed()).toBe(false);
  });

  it.each(['close', 'Close', 'x-a, CLOSE', 'keep-alive, close'])('Connection: %s is the last', async (value) => {
    client.send(echoOf('a', `Connection: ${value}\r\n`) + echoOf('b'));
    expect((await client.answer()).fields).toContainEqual(['connection', 'close']);
    expect(await client.ended()).toBe(true);
    expect(client.answers()).toHaveLength(1);
  });

  it('HTTP/1.0 ends after one answer', async () => {
    client.send('GET /v1/echo/a HTTP/1.0\r\n\r\n');
    expect((await client.answer()).status).toBe(200);
    expect(await client.ended()).toBe(true);
  });

  it('HTTP/1.0 with keep-alive lives on, and is told so', async () => {
    for (const name of ['a', 'b']) {
      client.send(`GET /v1/echo/${name} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n`);
      const { fields, body } = await client.answer();
      expect(nameOf(body)).toBe(name);
      expect(fields.find(([field]) => field === 'connection')?.[1].toLowerCase()).toBe('keep-alive');
    }
  });

  it('a refusal of the gateway leaves the connection open', async () => {
    for (const [path, status] of [
      ['/v1/nothing', 404],
      ['/v1/fail-unary/13', 500],
      ['/v1/echo/%zz', 400],
      ['/v1/echo/a', 200],
    ] as const) {
      client.send(get(path));
      expect((await client.answer()).status).toBe(status);
    }
  });
});

describe('a body that a refusal made needless', () => {
  const refused = (length: number, rest = '') =>
    `POST /v1/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${rest}`;

  it('is passed over, and the connection lives on', async () => {
    client.send(refused(15, '{"text":"body"}') + echoOf('a') + refused(20, 'GET / HT'));
    await expect.poll(() => client.answers().length).toBe(3);
    client.send(`TP/1.1\r\n\r\nab${echoOf('b')}`);
    await expect.poll(() => client.answers().length).toBe(4);
    expect(client.answers().map(({ status }) => status)).toEqual([404, 200, 404, 200]);
    expect(nameOf(client.answers()[3]!.body)).toBe('b');
  });

  it('ends the connection when it is long, or its length unknown', async () => {
    for (const request of [
      refused(65_537),
      'POST /v1/nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
    ]) {
      const peer = converse(gateway.port);
      peer.send(request + echoOf('smuggled'));
      expect(await peer.ended()).toBe(true);
      expect(peer.answers().map(({ status }) => status)).toEqual([404]);
    }
  });

  it('does not keep a connection that sends it an octet a second', async () => {
    client.send(refused(1000));
    await client.answer();
    const timer = setInterval(() => client.send('a'), 100);
    expect(await client.ended()).toBe(true);
    clearInterval(timer);
    expect(client.answers()).toHaveLength(1);
  });
});

describe('RFC 9112 §9.3.2 pipelining', () => {
  it.each([2, 100])('%i requests in one segment, answered in order', async (count) => {
    const names = Array.from({ length: count }, (_, index) => `n${index}`);
    client.send(names.map((name) => echoOf(name)).join(''));
    await expect.poll(() => client.answers().length).toBe(count);
    expect(client.answers().map(({ body }) => nameOf(body))).toEqual(names);
  });

  it('a slow answer holds the next ones back', async () => {
    client.send(get('/v1/hang', 'X-Request-Timeout: 300ms\r\n') + echoOf('a') + get('/v1/count/3') + echoOf('b'));
    await expect.poll(() => client.answers().length).toBe(4);
    expect(client.answers().map(({ status }) => status)).toEqual([504, 200, 200, 200]);
    expect(client.answers()[2]!.body.trim().split('\n')).toHaveLength(3);
  });

  it('bodies between requests', async () => {
    const post = (name: string) =>
      `POST /v1/echo/${name} HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n{"text":"body"}`;
    client.send(post('a') + echoOf('b') + post('c'));
    await expect.poll(() => client.answers().length).toBe(3);
    expect(client.answers().map(({ body }) => (JSON.parse(body) as { text: string }).text)).toEqual([
      'body',
      '',
      'body',
    ]);
  });

  it('a client that leaves takes all its requests with it', async () => {
    client.send(get('/v1/hang') + get('/v1/hang') + get('/v1/hang'));
    await expect.poll(() => echo.hanging()).toBeGreaterThan(0);
    client.socket.resetAndDestroy();
  });

  it('without end and without reading is shed, and few of the requests are taken', async () => {
    client.socket.pause();
    let most = 0;
    let lines = 0;
    // Large answers, so that few of them fill what the kernel holds for a client that does not read.
    const many = echoOf(`x?text=${'t'.repeat(8000)}`).repeat(100);
    while (!client.closed() && lines < 200_000) {
      lines += 100;
      const room = client.socket.write(many);
      await new Promise((resolve) => (room ? setImmediate(resolve) : setTimeout(resolve, 20)));
      most = Math.max(most, gateway.runtime.inFlight.calls);
      if (!room && client.socket.writableLength > 16 * 1024 * 1024) {
        // The gateway reads no more: it may hold its breath until the client's patience or its own ends.
        await expect.poll(() => client.closed(), { timeout: 40_000 }).toBe(true);
      }
    }
    expect(client.closed()).toBe(true);
    expect(most).toBeLessThan(129);
  });
});

describe('RFC 9112 §2.2 segments', () => {
  const conversation =
    'POST /v1/echo/ann HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX-A: \tb \r\n\r\n' +
    'a;x="y"\r\n{"text":"h\r\n6\r\nello"}\r\n0\r\nX-T: z\r\n\r\n\r\n' +
    'POST /v1/echo/bob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n{"text":"hello"}' +
    `GET /v1/echo/eve HTTP/1.1\r\nHost: localhost\r\n${CLOSE}\r\n`;
  const names = ['ann', 'bob', 'eve'];

  it('a conversation cut in two at every octet', async () => {
    const cuts = Array.from({ length: conversation.length - 1 }, (_, index) => index + 1);
    const broken: number[] = [];
    const one = async (cut: number) => {
      const peer = converse(gateway.port);
      peer.send(conversation.slice(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 5));
      peer.send(conversation.slice(cut));
      await peer.ended();
      const read = peer.answers().map(({ body }) => body && nameOf(body));
      if (read.join() !== names.join()) broken.push(cut);
    };
    for (let at = 0; at < cuts.length; at += 20) await Promise.all(cuts.slice(at, at + 20).map(one));
    expect(broken).toEqual([]);
  });

  it('octet by octet', async () => {
    for (const octet of conversation) {
      client.send(octet);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.ended()).toBe(true);
    expect(client.answers().map(({ body }) => nameOf(body))).toEqual(names);
  });

  it('cut off at every octet: the gateway keeps nothing of it', async () => {
    const cuts = Array.from({ length: conversation.length }, (_, index) => index);
    await Promise.all(
      cuts.map(async (cut) => {
        const peer = converse(gateway.port);
        peer.send(conversation.slice(0, cut));
        await new Promise((resolve) => setTimeout(resolve, 20));
        peer.socket.resetAndDestroy();
      }),
    );
    await expect.poll(() => gateway.listener.connections()).toBeLessThan(2);
  });
});

describe('RFC 9112 §9.6 the end of a connection', () => {
  it('a client that closes its side gets the answers to all that it has asked', async () => {
    client.socket.end(echoOf('a') + `POST /v1/echo/b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}` + echoOf('c'));
    expect(await client.ended()).toBe(true);
    expect(client.answers().map(({ body }) => nameOf(body))).toEqual(['a', 'b', 'c']);
  });

  it('also one that comes late, and piece by piece', async () => {
    const late = await startScriptedUpstream();
    const slow = await startTestGateway(late.address);
    late.script = (stream) => {
      // Longer than the gateway waits before it asks whether the client is still there.
      setTimeout(() => {
        stream.respond(GRPC, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(ECHO);
      }, 400);
    };
    const peer = converse(slow.port);
    peer.socket.end(echoOf('a'));
    expect(await peer.ended()).toBe(true);
    expect(peer.answers()).toMatchObject([{ status: 200, complete: true }]);
    const streaming = converse(slow.port);
    streaming.socket.end(get('/v1/count/1'));
    expect(await streaming.ended()).toBe(true);
    expect(streaming.answers()).toMatchObject([{ status: 200, complete: true }]);
    await slow.stop();
    await late.stop();
  });

  it.each(['end', 'destroy'] as const)(
    'a client that leaves by %s is found out, and what it waits for is cancelled',
    async (how) => {
      client.send(get('/v1/hang') + echoOf('b'));
      await expect.poll(() => echo.hanging()).toBe(1);
      client.socket[how]();
      // Closed on both sides: what is sent to it from now on is refused.
      if (how === 'end') client.socket.destroySoon();
      await expect.poll(() => echo.hanging()).toBe(0);
      expect(client.answers()).toEqual([]);
    },
  );

  it('a client that closes its side in the middle of an answer in pieces has left', async () => {
    client.send(get('/v1/count/1000000?size=1000'));
    await expect.poll(() => client.rest().length).toBeGreaterThan(0);
    client.socket.end();
    expect(await client.ended()).toBe(true);
  });

  it.each([
    ['with a length', 'Content-Length: 20\r\n\r\n{"text":'],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n8\r\n{"text":\r\n'],
  ])('a body cut short %s is no request', async (_, rest) => {
    client.socket.end(`POST /v1/echo/ann HTTP/1.1\r\nHost: a\r\n${rest}`);
    expect(await client.ended()).toBe(true);
    expect(client.answers().filter(({ status }) => status === 200)).toEqual([]);
  });

  it('a refusal can be read while megabytes are still being sent', async () => {
    client.send('GET /v1/echo/a HTTP/1.1\r\nHost : a\r\n\r\n');
    const more = Buffer.alloc(8 * 1024 * 1024, 0x61);
    client.socket.write(more);
    expect(await client.answer()).toMatchObject({ status: 400, complete: true });
    expect(await client.ended()).toBe(true);
  });

  it('the last answer reaches a client that takes seconds to read it', async () => {
    const patient = await startTestGateway(`127.0.0.1:${echo.port}`);
    const slow = converse(patient.port);
    // More than the kernel takes at once is on its way when the answer has ended.
    slow.send(get('/v1/count/4?size=3900000', CLOSE));
    slow.socket.on('data', () => {
      slow.socket.pause();
      setTimeout(() => slow.socket.resume(), 25);
    });
    expect(await slow.ended(40_000)).toBe(true);
    const [answer] = slow.answers();
    expect(answer).toMatchObject({ status: 200, complete: true });
    expect(answer!.body.trim().split('\n')).toHaveLength(4);
    await patient.stop();
  });

  it('a client that resets in the middle of its body', async () => {
    client.send('POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"text":"a"}\n');
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(1);
    client.socket.resetAndDestroy();
  });

  it('a client that resets in the middle of its answer', async () => {
    client.send(get('/v1/count/100000?size=1000'));
    await expect.poll(() => client.rest().length).toBeGreaterThan(1000);
    client.socket.resetAndDestroy();
  });
});

describe('a slow reader of an endless answer', () => {
  let upstream: ScriptedUpstream;
  let before: TestGateway;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    before = await startTestGateway(upstream.address, { timeouts: { send: '700ms' } });
  });
  afterAll(async () => {
    await before?.stop();
    await upstream?.stop();
  });

  it('holds the service back, and is cut off when it takes nothing any more', async () => {
    let sent = 0;
    let ended = false;
    const chunk = message(Buffer.concat([Buffer.from([0x12, 0x80, 0x80, 0x04]), Buffer.alloc(65_536, 0x61)]));
    upstream.script = (stream) => {
      stream.respond(GRPC);
      stream.write(ECHO);
      const more = () => {
        while (!stream.destroyed && stream.write(chunk)) sent += chunk.length;
      };
      stream.on('drain', more);
      stream.on('close', () => (ended = true));
      more();
    };
    const reader = converse(before.port);
    reader.socket.pause();
    reader.send(get('/v1/count/1'));
    await expect.poll(() => ended, { timeout: 40_000 }).toBe(true);
    // What the kernel's buffers of two connections take, and a little more.
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    expect(before.runtime.inFlight.calls).toBe(0);
    reader.socket.destroy();
  });
});

describe('limits of connections', () => {
  it('more than the most are turned away at once, and one that leaves makes room', async () => {
    const small = await startTestGateway(`127.0.0.1:${echo.port}`, { connections: { all: 3 } });
    const open = Array.from({ length: 3 }, () => converse(small.port));
    for (const each of open) {
      each.send(echoOf('a'));
      await each.answer();
    }
    const fourth = converse(small.port);
    expect(await fourth.ended()).toBe(true);
    const { values } = await small.metrics.getSingleMetric('gateway_listener_limit_hits_total')!.get();
    expect(values.find(({ labels }) => labels['limit'] === 'connections')?.value).toBeGreaterThan(0);
    open[0]!.socket.destroy();
    await expect.poll(async () => parseAnswers(await sendRaw(small.port, echoOf('a', CLOSE))).length).toBe(1);
    for (const each of open) each.socket.destroy();
    await small.stop();
  });

  it('drain: the last answer says so, an idle connection is closed, a new one is refused', async () => {
    const going = await startTestGateway(`127.0.0.1:${echo.port}`);
    const [busy, idle] = [converse(going.port), converse(going.port)];
    idle.send(echoOf('a'));
    await idle.answer();
    busy.send(get('/v1/hang', 'X-Request-Timeout: 2\r\n'));
    await expect.poll(() => going.runtime.inFlight.calls).toBe(1);
    const closed = going.listener.close(10_000);
    const late = converse(going.port);
    expect(await late.ended()).toBe(true);
    expect(late.answers()).toEqual([]);
    expect(await idle.ended()).toBe(true);
    const last = await busy.answer();
    expect(last.status).toBe(504);
    expect(last.fields).toContainEqual(['connection', 'close']);
    await closed;
    await going.stop();
  });
});
