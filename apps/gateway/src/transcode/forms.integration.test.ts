import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { type EchoServer, echoPackage, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { message } from '../../testdata/scripted-upstream.js';

let echo: EchoServer;
let gateway: TestGateway;
let native: Client;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`);
  native = new Client(`127.0.0.1:${gateway.port}`, credentials.createInsecure());
});
afterAll(async () => {
  native?.close();
  await gateway?.stop();
  echo?.stop();
});

const service = echoPackage.echo.v1.EchoService.service;
const method = (name: string) => {
  const { path, requestSerialize, responseDeserialize } = service[name]!;
  return [path, requestSerialize, responseDeserialize] as const;
};
const encode = (name: string, value: object) => message(service[name]!.requestSerialize(value));
const REQUEST = { name: 'ann', text: 'héllo', number: '9007199254740993' };
const EXPECTED = { name: 'ann', text: 'héllo', number: '9007199254740993' };

/** The messages and trailers in a gRPC-Web body. */
function webFrames(name: string, body: Buffer): { messages: unknown[]; trailers: string } {
  const messages: unknown[] = [];
  let at = 0;
  while (body[at] === 0) {
    const length = body.readUInt32BE(at + 1);
    messages.push(service[name]!.responseDeserialize(body.subarray(at + 5, at + 5 + length)));
    at += 5 + length;
  }
  expect(body[at]).toBe(0x80);
  return { messages, trailers: body.subarray(at + 5).toString() };
}

describe('one method, the same answer', () => {
  it('to a grpc-js client', async () => {
    const answer = await new Promise((resolve, reject) =>
      native.makeUnaryRequest(...method('Echo'), REQUEST, (error, value) => (error ? reject(error) : resolve(value))),
    );
    expect(answer).toEqual(EXPECTED);
  });

  it.each(['--http1.1', '--http2-prior-knowledge'])('to curl %s', async (flag) => {
    const url = `${gateway.origin}/v1/echo/ann`;
    const body = JSON.stringify({ text: REQUEST.text, number: REQUEST.number });
    const { stdout } = await promisify(execFile)('curl', [
      '-s',
      flag,
      '-H',
      'content-type: application/json',
      '-d',
      body,
      url,
    ]);
    expect(JSON.parse(stdout)).toEqual(EXPECTED);
  });

  it.each(protocols)('to a browser’s gRPC-Web over %s, binary and text', async (protocol) => {
    const call = (form: string, body: Buffer | string) =>
      ask(gateway.port, protocol, {
        method: 'POST',
        path: '/echo.v1.EchoService/Echo',
        fields: { 'content-type': `application/${form}+proto`, 'x-grpc-web': '1' },
        body,
      });
    const binary = await call('grpc-web', encode('Echo', REQUEST));
    expect(binary.fields['content-type']).toBe('application/grpc-web+proto');
    expect(webFrames('Echo', binary.body)).toEqual({
      messages: [EXPECTED],
      trailers: expect.stringContaining('grpc-status: 0'),
    });
    const text = await call('grpc-web-text', encode('Echo', REQUEST).toString('base64'));
    const decoded = Buffer.concat(
      text.body
        .toString()
        .match(/[^=]+={0,2}/g)!
        .map((part) => Buffer.from(part, 'base64')),
    );
    expect(webFrames('Echo', decoded).messages).toEqual([EXPECTED]);
    for (const text of ['!!!', encode('Echo', REQUEST).toString('base64').slice(0, -1)]) {
      const broken = await call('grpc-web-text', text);
      expect(Buffer.from(broken.body.toString(), 'base64').toString()).toContain('grpc-status: 3');
    }
  });
});

describe('gRPC passed through', () => {
  it('server streams, with backpressure', async () => {
    const stream = native.makeServerStreamRequest(...method('Count'), { count: 300, size: 20_000 });
    let messages = 0;
    for await (const each of stream) {
      messages += 1;
      expect(each).toMatchObject({ number: String(messages) });
      if (messages % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(messages).toBe(300);
  });

  it('client streams', async () => {
    const answer = await new Promise((resolve, reject) => {
      const stream = native.makeClientStreamRequest(...method('Collect'), (error, value) =>
        error ? reject(error) : resolve(value),
      );
      for (let index = 0; index < 100; index++) stream.write({ text: String(index) });
      stream.end();
    });
    expect(answer).toEqual({ messages: 100, last: '99' });
  });

  it('streams both ways, each message answered before the next is sent', async () => {
    const stream = native.makeBidiStreamRequest(...method('Chat'));
    for (const text of ['a', 'b', 'c']) {
      const answered = new Promise((resolve) => stream.once('data', resolve));
      stream.write({ text });
      expect(await answered).toMatchObject({ text });
    }
    const ended = new Promise((resolve) => stream.on('status', resolve));
    stream.end();
    stream.resume();
    expect(await ended).toMatchObject({ code: 0 });
  });

  it('metadata both ways, and a deadline that is visible upstream', async () => {
    const metadata = new Metadata();
    metadata.set('colour', 'blue');
    metadata.set('trace-bin', Buffer.from([0, 255]));
    metadata.set('x-sluice-subject', 'admin');
    const seen = await new Promise<{ metadata: Record<string, string>; deadline_ms: string }>((resolve, reject) =>
      native.makeUnaryRequest(...method('Metadata'), {}, metadata, { deadline: Date.now() + 2000 }, (error, value) =>
        error ? reject(error) : resolve(value as never),
      ),
    );
    expect(seen.metadata).toMatchObject({ colour: 'blue', 'x-forwarded-for': '127.0.0.1' });
    expect(seen.metadata).not.toHaveProperty('x-sluice-subject');
    expect(Number(seen.deadline_ms)).toBeLessThanOrEqual(2000);
    expect(Number(seen.deadline_ms)).toBeGreaterThan(1000);
  });

  it('statuses, and a method that nobody has', async () => {
    const failed = (path: string) =>
      new Promise<ServiceError>((resolve) =>
        native.makeUnaryRequest(
          path,
          service['FailUnary']!.requestSerialize,
          (bytes) => bytes,
          { code: 9, message: 'not nów' },
          (error) => resolve(error!),
        ),
      );
    expect(await failed('/echo.v1.EchoService/FailUnary')).toMatchObject({ code: 9, details: 'not nów' });
    expect(await failed('/echo.v1.EchoService/Nothing')).toMatchObject({ code: 12 });
  });

  it('the client’s leaving', async () => {
    const before = echo.cancelled();
    const call = native.makeUnaryRequest(...method('Hang'), {}, () => undefined);
    await expect.poll(() => echo.hanging()).toBe(1);
    call.cancel();
    await expect.poll(() => echo.cancelled()).toBe(before + 1);
  });
});

describe.each(protocols)('REST streams over %s', (protocol) => {
  it.each([
    ['application/x-ndjson', 'application/x-ndjson', /^\{.*"1".*\}\n\{.*"2".*\}\n$/],
    ['text/event-stream', 'text/event-stream', /^data: \{.*"1".*\}\n\ndata: \{.*"2".*\}\n\n/],
    ['application/json', 'application/json', /^\[\s*\{.*"1".*\},\s*\{.*"2".*\}\s*\]\s*$/s],
  ])('as %s', async (accept, contentType, shape) => {
    const answer = await ask(gateway.port, protocol, { path: '/v1/count/2', fields: { accept } });
    expect(answer.fields['content-type']).toContain(contentType);
    expect(answer.body.toString()).toMatch(shape);
  });

  it.each(['/v1/count/2', '/v1/echo/ann', '/v1/collect', '/v1/fail-unary/5'])(
    'refuses a form that %s has not before anything is called',
    async (path) => {
      const method = path === '/v1/collect' ? 'POST' : 'GET';
      for (const accept of ['image/png', 'text/html, application/json;q=0', '*/*;q=0']) {
        const answer = await ask(gateway.port, protocol, { method, path, fields: { accept } });
        expect(answer.json).toMatchObject({ status: 406, code: 'NOT_ACCEPTABLE' });
      }
    },
  );

  it.each(['*/*', 'application/*', 'application/json, text/plain, */*', 'text/html,*/*;q=0.8', ''])(
    'answers once to Accept: %s',
    async (accept) => {
      const answer = await ask(gateway.port, protocol, { path: '/v1/echo/ann', fields: { accept } });
      expect(answer).toMatchObject({ status: 200, json: { name: 'ann' } });
    },
  );

  it('reads NDJSON', async () => {
    const body = '{"text":"a"}\n{"text":"b"}\n{"text":"c"}';
    const collected = await ask(gateway.port, protocol, { method: 'POST', path: '/v1/collect', body });
    expect(collected.json).toEqual({ messages: 3, last: 'c' });
    const chat = await ask(gateway.port, protocol, { method: 'POST', path: '/v1/chat', body });
    expect(chat.body.toString().trim().split('\n')).toHaveLength(3);
  });

  it('cancels the upstream call when a line is no JSON', async () => {
    const answer = await ask(gateway.port, protocol, {
      method: 'POST',
      path: '/v1/collect',
      body: '{"text":"a"}\n{"te',
    });
    expect(answer.json).toMatchObject({ status: 400 });
    await expect.poll(() => gateway.runtime.inFlight.calls).toBe(0);
  });

  it('HEAD has the fields of GET and no body', async () => {
    const head = await ask(gateway.port, protocol, { method: 'HEAD', path: '/v1/echo/ann' });
    const get = await ask(gateway.port, protocol, { path: '/v1/echo/ann' });
    expect(head.status).toBe(200);
    expect(head.body.length).toBe(0);
    expect(head.fields['content-length']).toBe(get.fields['content-length']);
    expect((await ask(gateway.port, protocol, { method: 'HEAD', path: '/v1/count/2' })).body.length).toBe(0);
  });

  it('keeps each Set-Cookie', async () => {
    expect((await ask(gateway.port, protocol, { path: '/v1/echo/ann' })).fields['set-cookie']).toEqual(['a=1', 'b=2']);
  });
});

describe.each(protocols)('%s: google.api.HttpBody', (protocol) => {
  const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0xff, 0x0a]);
  const raw = (type: string | undefined, body: Buffer) =>
    ask(gateway.port, protocol, {
      method: 'POST',
      path: '/v1/raw',
      fields: type ? { 'content-type': type } : {},
      body,
    });

  it.each(['image/png', 'text/plain; charset=iso-8859-1', 'application/json'])(
    '%s goes in and out as it is',
    async (type) => {
      const answer = await raw(type, png);
      expect(answer.status).toBe(200);
      expect(answer.fields['content-type']).toBe(type);
      expect(answer.body).toEqual(png);
    },
  );

  it('without a type comes out as bytes', async () => {
    expect((await raw(undefined, png)).fields['content-type']).toBe('application/octet-stream');
  });

  it('a stream has the type of its first message', async () => {
    const answer = await ask(gateway.port, protocol, { path: '/v1/download/3?size=2' });
    expect(answer.fields['content-type']).toBe('text/csv');
    expect(answer.body.toString()).toBe('aabbcc');
  });

  it('a stream that fails is cut, so that it never looks whole', async () => {
    await expect(ask(gateway.port, protocol, { path: '/v1/download/3?size=-2' })).rejects.toThrow();
  });
});

it.each(protocols)('%s: a type that a service makes up does not break out of its field', async (protocol) => {
  const answer = await ask(gateway.port, protocol, { path: '/v1/download/1?size=0' });
  expect(answer).toMatchObject({ status: 200, fields: { 'content-type': 'application/octet-stream' } });
  expect(answer.fields).not.toHaveProperty('x-evil');
});
