import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { type Conversation, converse } from '../../testdata/conversation.js';
import { CLOSE, echoOf, get, nameOf, sendRaw } from '../../testdata/raw-http1.js';

/** What answers over HTTP/1.1 carry and how they are framed; fields of one hop; leave to send a body (RFC 9110, RFC 9112 section 6). */

let echo: EchoServer;
let gateway: TestGateway;
let client: Conversation;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    sizes: { body: '1MiB' },
    cors: { origins: ['https://app.example'] },
    upstream: { request_headers: ['x-hop'] },
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

describe('answers', () => {
  const fieldsOf = (answer: { fields: readonly (readonly [string, string])[] }) => Object.fromEntries(answer.fields);

  it('to HEAD have the length of what GET would get, and no body (RFC 9110 §9.3.2)', async () => {
    client.send(echoOf('ann'));
    const whole = await client.answer();
    client.send(`HEAD /v1/echo/ann HTTP/1.1\r\nHost: a\r\n\r\n`);
    await expect.poll(() => client.rest()).toContain('\r\n\r\n');
    const [head, body] = client.rest().split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(head!.toLowerCase()).toContain(`content-length: ${Buffer.byteLength(whole.body)}`);
    expect(body).toBe('');
  });

  it('to HEAD of a stream, of an unknown path and of a failure have no body either', async () => {
    const heads = ['/v1/count/3', '/v1/nothing', '/v1/fail-unary/5'];
    const requests = heads.map((path) => `HEAD ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join('');
    const read = (await sendRaw(gateway.port, requests + echoOf('last', CLOSE))).toString();
    const [last, ...before] = read.split('\r\n\r\n').reverse();
    expect(nameOf(last!)).toBe('last');
    expect(before.reverse().map((head) => head.slice(0, 12))).toEqual(
      ['200', '404', '404', '200'].map((status) => `HTTP/1.1 ${status}`),
    );
  });

  it('of 204 have neither body nor length (RFC 9110 §8.6, RFC 9112 §6.1)', async () => {
    const preflight = 'Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n';
    client.send(`OPTIONS /v1/echo/a HTTP/1.1\r\nHost: a\r\n${preflight}\r\n${echoOf('b')}`);
    await expect.poll(() => client.answers().length).toBe(2);
    const [empty, next] = client.answers();
    expect(empty!.status).toBe(204);
    expect(Object.keys(fieldsOf(empty!))).not.toEqual(expect.arrayContaining(['content-length']));
    expect(Object.keys(fieldsOf(empty!))).not.toEqual(expect.arrayContaining(['transfer-encoding']));
    expect(nameOf(next!.body)).toBe('b');
  });

  it('say when they were made (RFC 9110 §6.6.1)', async () => {
    client.send(echoOf('a') + get('/v1/count/2') + get('/v1/nothing'));
    await expect.poll(() => client.answers().length).toBe(3);
    for (const answer of client.answers()) {
      const date = fieldsOf(answer)['date']!;
      expect(date).toMatch(
        /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/,
      );
      expect(Math.abs(Date.parse(date) - Date.now())).toBeLessThan(5000);
    }
  });

  it('to what could not be read say it too', async () => {
    client.send('nonsense\r\n\r\n');
    expect(fieldsOf(await client.answer())).toHaveProperty('date');
  });

  it('are framed in one way (RFC 9112 §6.2)', async () => {
    client.send(echoOf('a') + get('/v1/count/2') + get('/v1/nothing'));
    await expect.poll(() => client.answers().length).toBe(3);
    const ways = client.answers().map((answer) => {
      const fields = answer.fields.map(([name]) => name);
      return ['content-length', 'transfer-encoding'].map((way) => fields.filter((name) => name === way).length);
    });
    expect(ways).toEqual([
      [1, 0],
      [0, 1],
      [1, 0],
    ]);
  });

  it('that stream to HTTP/1.0 are not chunked and end with the connection (RFC 9112 §6.1)', async () => {
    client.send('GET /v1/count/3 HTTP/1.0\r\n\r\n');
    expect(await client.ended()).toBe(true);
    const [head, body] = client.rest().split('\r\n\r\n');
    expect(head!.toLowerCase()).not.toContain('transfer-encoding');
    expect(
      body!
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).number),
    ).toEqual(['1', '2', '3']);
  });

  it('keep each of several fields of one name', async () => {
    client.send(echoOf('a'));
    const cookies = (await client.answer()).fields.filter(([name]) => name === 'set-cookie');
    expect(cookies.map(([, value]) => value)).toEqual(['a=1', 'b=2']);
  });
});

describe('RFC 9110 §7.6.1 fields of one hop', () => {
  it('go no further', async () => {
    const hop =
      'Connection: upgrade, X-Hop, grpc-metadata-hop\r\nUpgrade: h2c\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\n';
    client.send(get('/v1/metadata', `${hop}HTTP2-Settings: AA\r\nX-Hop: 1\r\nGrpc-Metadata-Hop: 1\r\n${CLOSE}`));
    const { metadata } = JSON.parse((await client.answer()).body) as { metadata: Record<string, string> };
    expect(Object.keys(metadata)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(x-hop|hop|upgrade|keep-alive|http2-settings|connection)$/)]),
    );
  });
});

describe('RFC 9110 §10.1.1 leave to send a body', () => {
  const head = (path: string, length: number) =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;

  it('is given when it will be read, and the answer follows', async () => {
    client.send(head('/v1/echo/ann', 2));
    await expect.poll(() => client.rest()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('{}');
    expect((await client.answer()).status).toBe(200);
    client.send(echoOf('next'));
    await expect.poll(() => client.answers().length).toBe(2);
  });

  it.each([
    ['no such path', '/v1/nothing', 2, 404],
    ['a body that is too large', '/v1/echo/ann', 2_000_000, 413],
  ])('is not given for %s', async (_, path, length, status) => {
    client.send(head(path, length));
    expect((await client.answer()).status).toBe(status);
    expect(client.rest()).not.toContain('100 Continue');
    // Nobody knows whether the body comes: what follows is not taken for a request.
    client.send(echoOf('smuggled'));
    expect(await client.ended()).toBe(true);
    expect(client.answers()).toHaveLength(1);
  });

  it('is never given to HTTP/1.0', async () => {
    client.send('POST /v1/echo/ann HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.rest()).toBe('');
    client.send('{}');
    expect((await client.answer()).status).toBe(200);
  });
});
