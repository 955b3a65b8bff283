/** Legal requests get what node:http would answer, however they are cut; whatever else a client sends ends without a throw, a hang or a request that ends twice. `FUZZ_MS` makes it longer. */
import { createServer as createHttpServer } from 'node:http';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { timersSet } from '../timers/wheel.js';
import type { Http1Request } from './request.js';
import { Http1Server } from './server.js';

const FUZZ_MS = Number(process.env['FUZZ_MS'] ?? 2_000);
const SETTINGS = { maxHeadBytes: 16_384, headersTimeoutMs: 300, idleTimeoutMs: 300, writeTimeoutMs: 300 };

/** Answers with the method, the target and the body; counts how often a request has ended. */
class Echo {
  private readonly chunks: Buffer[] = [];
  ends = 0;

  constructor(private readonly request: Http1Request) {
    request.events = this;
    if (request.hasBody) request.readBody(this);
    else this.onEnd();
  }

  onData(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
  }

  onEnd(): void {
    this.ends++;
    const { method, target } = this.request;
    this.request.respond(200, [], Buffer.from(`${method} ${target} ${Buffer.concat(this.chunks).toString('latin1')}`));
  }

  onGone(): void {
    this.ends++;
  }

  onDrain(): void {}
}

const requests: Echo[] = [];
const ours = new Http1Server(
  {
    onRequest: (request) => requests.push(new Echo(request)),
    answerFault: ({ message }) => ({ fields: [], body: Buffer.from(message) }),
  },
  SETTINGS,
);
const listener = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  ours.accept(socket, Buffer.alloc(0));
});
const nodes = createHttpServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString('latin1')}`));
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;
beforeAll(async () => {
  for (const server of [listener, nodes]) await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => {
  ours.stop();
  listener.close();
  nodes.close();
});

/** Sends pieces one after the other and reads until the server closes. */
async function exchange(port: number, pieces: readonly Buffer[]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

/** Statuses and bodies, by content-length, which both servers give. */
function answersOf(text: string): string[] {
  const answers: string[] = [];
  for (let rest = text; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n');
    const head = rest.slice(0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    answers.push(`${head.slice(9, 12)} ${rest.slice(end + 4, end + 4 + length)}`);
    rest = rest.slice(end + 4 + length);
  }
  return answers;
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly fields: readonly string[];
  readonly body: string | undefined;
  /** Sizes of chunks; none: the body has a length. */
  readonly chunks: readonly number[];
}

const asked: fc.Arbitrary<Asked> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE'),
  path: fc.stringMatching(/^\/[a-z0-9/%._~-]{0,20}(\?[a-z=&]{0,9})?$/),
  fields: fc.array(
    fc.constantFrom('X-A: b', 'x-b:c', 'Accept:  */*\t', 'X-Empty:', 'X-Text: \xe9\xff', 'Cookie: a=b; c'),
    { maxLength: 4 },
  ),
  body: fc.option(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    { nil: undefined },
  ),
  chunks: fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 4 }),
});

function write({ method, path, fields, body, chunks }: Asked): string {
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...fields];
  if (body === undefined) return `${lines.join('\r\n')}\r\n\r\n`;
  if (chunks.length === 0) return `${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  let text = `${lines.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  let rest = body;
  for (let index = 0; rest !== ''; index++) {
    const piece = rest.slice(0, chunks[index % chunks.length]);
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
    rest = rest.slice(piece.length);
  }
  return `${text}0\r\n\r\n`;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...sorted, bytes.length].map((to, index) => bytes.subarray(index === 0 ? 0 : sorted[index - 1], to));
}

const LAST = 'GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

it('answers legal requests as node:http does, however they are cut', { timeout: FUZZ_MS + 30_000 }, async () => {
  const places = fc.array(fc.nat(2_000), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 5 }), places, async (all, at) => {
      const bytes = Buffer.from(all.map(write).join('') + LAST, 'latin1');
      const [mine, theirs] = await Promise.all([
        exchange(portOf(listener), cut(bytes, at)),
        exchange(portOf(nodes), [bytes]),
      ]);
      expect(answersOf(mine)).toEqual(answersOf(theirs));
      expect(answersOf(mine)).toHaveLength(all.length + 1);
    }),
    { numRuns: 10_000, interruptAfterTimeLimit: FUZZ_MS, markInterruptAsFailure: false },
  );
});

it('survives whatever else is sent', { timeout: FUZZ_MS + 30_000 }, async () => {
  const mutation = fc.record({ at: fc.nat(2_000), remove: fc.nat(4), insert: fc.uint8Array({ maxLength: 6 }) });
  const places = fc.array(fc.nat(2_000), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(asked, { maxLength: 3 }),
      fc.array(mutation, { maxLength: 4 }),
      places,
      async (...args) => {
        const [all, mutations, at] = args;
        let bytes = Buffer.from(all.map(write).join(''), 'latin1');
        for (const { at: place, remove, insert } of mutations) {
          const from = place % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, from), insert, bytes.subarray(from + remove)]);
        }
        const socket = connect(portOf(listener), '127.0.0.1');
        socket.on('error', () => undefined);
        socket.resume();
        for (const piece of cut(bytes, at)) socket.write(piece);
        socket.end();
        await once(socket, 'close');
      },
    ),
    { numRuns: 10_000, interruptAfterTimeLimit: FUZZ_MS, markInterruptAsFailure: false },
  );
  await expect.poll(() => ours.counters.open).toBe(0);
  expect(timersSet()).toBe(0);
  expect(requests.filter(({ ends }) => ends !== 1)).toEqual([]);
});
