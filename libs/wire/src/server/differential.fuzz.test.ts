/** The same random requests to our server and to node:http2's: the same answers. `FUZZ_MS` makes it longer. */
import { once } from 'node:events';
import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Field, Fields } from '../fields.js';
import { Served } from '../testing/served.js';
import { joinCookies } from './request-rules.js';
import type { ServerStream } from './server-stream.js';

const FUZZ_MS = Number(process.env['FUZZ_MS'] ?? 3_000);

/** What a server is told to do, in fields of the request. */
interface Told {
  readonly status: number;
  readonly interim: boolean;
  readonly early: boolean;
  readonly reset: number;
  readonly trailers: string;
  readonly head: boolean;
}

/** What both servers say of a request that they have seen. */
function answerTo(seen: (name: string) => string, method: string, path: string, trailer: string): Fields {
  return [
    ['x-seen', seen('x-send')],
    ['x-method', method],
    ['x-path', path],
    ['x-cookies', seen('cookie')],
    ['x-many', seen('x-many')],
    ['x-trailer', trailer],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
  ];
}

function told(seen: (name: string) => string, method: string): Told {
  return {
    status: Number(seen('x-status')),
    interim: seen('x-interim') === '1',
    early: seen('x-early') === '1',
    reset: Number(seen('x-reset')),
    trailers: seen('x-trailers'),
    head: method === 'HEAD',
  };
}

function ours(stream: ServerStream): void {
  const fields = joinCookies(stream.fields);
  const seen = (name: string): string =>
    fields
      .filter(([at]) => at === name)
      .map(([, value]) => value)
      .join(', ');
  const body: Buffer[] = [];
  const { status, interim, early, reset, trailers, head } = told(seen, stream.method);
  const answer = (trailer: string): void => {
    if (reset > 0) return stream.reset(reset);
    if (interim) stream.respond(103, [['link', '</a>']]);
    stream.respond(status, answerTo(seen, stream.method, stream.path, trailer), head);
    if (head) return undefined;
    stream.write(Buffer.concat(body));
    if (trailers === '') stream.end();
    else stream.trailers([['x-end', trailers]]);
    return undefined;
  };
  if (early) return answer('');
  stream.events = {
    onData: (chunk) => void body.push(Buffer.from(chunk)),
    onEnd: (end) => answer(end?.[0]?.[1] ?? ''),
    onReset: () => {},
  };
  return undefined;
}

function grouped(fields: Fields): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of fields) {
    const known = headers[name];
    headers[name] = known === undefined ? value : [known as string, value];
  }
  return headers;
}

/** node:http2 as a server that does what it is told. */
async function theirs(): Promise<{ port: number; close(): void }> {
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const seen = (name: string): string => String(headers[name] ?? '');
    const method = seen(':method');
    const body: Buffer[] = [];
    let trailer = '';
    const { status, interim, early, reset, trailers, head } = told(seen, method);
    stream.on('error', () => {});
    const answer = (): void => {
      if (reset > 0) return stream.close(reset);
      if (interim) stream.additionalHeaders({ ':status': 103, link: '</a>' });
      const fields = grouped(answerTo(seen, method, seen(':path'), trailer));
      stream.respond({ ':status': status, ...fields }, { waitForTrailers: trailers !== '' && !head, endStream: head });
      if (head) return undefined;
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': trailers }));
      stream.end(Buffer.concat(body));
      return undefined;
    };
    if (early) return answer();
    stream.on('data', (chunk: Buffer) => body.push(chunk));
    stream.on('trailers', (end: IncomingHttpHeaders) => (trailer = String(Object.values(end)[0] ?? '')));
    stream.on('end', answer);
    return undefined;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly fields: readonly Field[];
  readonly cookies: readonly string[];
  readonly many: readonly string[];
  readonly chunks: readonly Uint8Array[];
  readonly trailer: string;
}

interface Answer {
  readonly interim: unknown[];
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  readonly code: number;
}

function ask(session: ClientHttp2Session, request: Request): Promise<Answer> {
  const { method, path, fields, cookies, many, chunks, trailer } = request;
  return new Promise((resolve) => {
    const headers: OutgoingHttpHeaders = { ':method': method, ':path': path, ...Object.fromEntries(fields) };
    if (cookies.length > 0) headers['cookie'] = [...cookies];
    if (many.length > 0) headers['x-many'] = [...many];
    const stream = session.request(headers, { endStream: false, waitForTrailers: trailer !== '' });
    const answer = { interim: [] as unknown[], headers: {}, trailers: {} };
    const body: Buffer[] = [];
    stream.on('headers', (interim) => void answer.interim.push(interim));
    // A copy has no list of the fields that were never to be indexed, in which the servers may differ.
    stream.on('response', (response) => (answer.headers = Object.fromEntries(Object.entries(response))));
    stream.on('trailers', (end) => (answer.trailers = end));
    stream.on('data', (chunk: Buffer) => body.push(chunk));
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': trailer }));
    stream.on('error', () => {});
    stream.on('close', () =>
      resolve({ ...answer, body: Buffer.concat(body).toString('latin1'), code: stream.rstCode }),
    );
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
  });
}

const text = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/);
const optional = (weight: number, arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof({ weight, arbitrary: fc.constant('') }, { weight: 1, arbitrary });
const request: fc.Arbitrary<Request> = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'),
    path: fc.stringMatching(/^\/[a-z0-9/._~%?&=+-]{0,40}$/),
    send: text,
    status: fc.constantFrom('200', '201', '404', '500'),
    interim: optional(4, fc.constant('1')),
    early: optional(6, fc.constant('1')),
    reset: optional(9, fc.constantFrom('2', '8', '11')),
    trailers: optional(1, text),
    cookies: fc.array(fc.stringMatching(/^[a-z]=[a-z0-9]{1,8}$/), { maxLength: 3 }),
    many: fc.array(fc.stringMatching(/^[a-z0-9]{1,8}$/), { maxLength: 3 }),
    chunks: fc.array(fc.uint8Array({ minLength: 1, maxLength: 40_000 }), { maxLength: 3 }),
    trailer: optional(2, fc.stringMatching(/^[a-z0-9]{1,8}$/)),
  })
  .map(({ method, path, cookies, many, chunks, trailer, send, status, interim, early, reset, trailers }) => ({
    method,
    path,
    cookies,
    many,
    // The rest of a request that is answered early may or may not arrive: it has none.
    chunks: early === '1' ? [] : chunks,
    trailer: early === '1' ? '' : trailer,
    fields: [
      ['x-send', send],
      ['x-status', status],
      ['x-interim', interim],
      ['x-early', early],
      ['x-reset', reset],
      ['x-trailers', trailers],
    ] as const,
  }));

it('answers any legal sequence of requests as node:http2 does', { timeout: FUZZ_MS + 30_000 }, async () => {
  const served = await Served.start(ours);
  const reference = await theirs();
  let resets = 0;
  let answers = 0;
  const settings = fc.record({
    initialWindowSize: fc.integer({ min: 1_000, max: 1_000_000 }),
    enablePush: fc.constant(false),
  });
  await fc.assert(
    fc.asyncProperty(settings, fc.array(request, { minLength: 1, maxLength: 8 }), async (chosen, requests) => {
      const sessions = [served.port, reference.port].map((port) =>
        connect(`http://127.0.0.1:${port}`, { settings: chosen }),
      );
      // When the time is over, a run is left as it stands.
      for (const session of sessions) session.on('error', () => {});
      const [mine, other] = await Promise.all(
        sessions.map((session) => Promise.all(requests.map((one) => ask(session, one)))),
      );
      for (const session of sessions) session.destroy();
      for (const answer of other!) delete answer.headers.date;
      expect(mine).toEqual(other);
      for (const { code } of mine!)
        if (code === constants.NGHTTP2_NO_ERROR) answers++;
        else resets++;
    }),
    { interruptAfterTimeLimit: FUZZ_MS, numRuns: 1_000_000, markInterruptAsFailure: false },
  );
  reference.close();
  await served.close();
  expect(served.server.counters).toMatchObject({ open: 0, streams: 0, connectionErrors: 0, malformed: 0 });
  expect(answers).toBeGreaterThan(resets);
});
