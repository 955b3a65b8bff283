/** curl, nghttp and h2load as clients of our server. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ServerStream } from '../server/server-stream.js';
import { CERTIFICATE } from '../testing/certificate.js';
import { commandPath, Listening, type ListenOptions } from '../testing/listening.fixture.js';
import { echo } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';

const execute = promisify(execFile);
const missing = (command: string, of: string): string =>
  commandPath(command) === undefined ? ` (no ${command}: apt-get install ${of})` : '';

let folder: string;
let body: string;
let listening: Listening | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-tools-'));
  body = join(folder, 'body');
  writeFileSync(body, Buffer.alloc(3_000_000, 'sluice '));
  writeFileSync(join(folder, 'ca.pem'), CERTIFICATE);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(async () => {
  await listening?.close();
  await expect.poll(timersSet).toBe(0);
});

/** Starts the server and gives its URL. */
async function serve(handler: (stream: ServerStream) => void, options: ListenOptions = {}): Promise<string> {
  listening = await Listening.start(handler, options);
  return options.tls === true ? `https://localhost:${listening.port}/` : `http://127.0.0.1:${listening.port}/`;
}

/** What a command prints; it must end well. */
async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 64 * 2 ** 20 });
  return stdout;
}

const noCurl = missing('curl', 'curl');
describe.skipIf(noCurl)(`curl${noCurl}`, () => {
  const CURL = ['-sS', '--http2-prior-knowledge', '-w', ' %{http_code} %{http_version}'];

  it('sends and gets a body', async () => {
    expect(await run('curl', ...CURL, '-d', 'hello', await serve(echo))).toBe('hello 200 2');
  });

  it('sends megabytes and gets them back', async () => {
    const output = join(folder, 'output');
    expect(await run('curl', ...CURL, '-T', body, '-o', output, await serve(echo))).toBe(' 200 2');
    expect(readFileSync(output).equals(readFileSync(body))).toBe(true);
  });

  it('speaks TLS, where ALPN chooses h2', async () => {
    const args = ['-sS', '-w', ' %{http_version}', '--cacert', join(folder, 'ca.pem'), '--ipv4', '-d', 'hello'];
    expect(await run('curl', ...args, await serve(echo, { tls: true }))).toBe('hello 2');
  });

  it('is answered before it has sent its body', async () => {
    const url = await serve((stream) => stream.respond(413, [], true));
    // Much longer ones are reset, which curl before 8 takes for an error of the stream whatever the answer.
    expect(await run('curl', ...CURL, '-d', 'x'.repeat(40_000), url)).toBe(' 413 2');
  });

  it('makes many requests on one connection', async () => {
    const url = await serve(echo, { tls: true });
    const args = ['-sS', '--no-progress-meter', '--cacert', join(folder, 'ca.pem'), '--ipv4', '--parallel', '-d', 'x'];
    expect(await run('curl', ...args, ...Array.from({ length: 50 }, () => url))).toBe('x'.repeat(50));
    expect(listening!.server.counters).toMatchObject({ requests: 50, connections: 1 });
  });
});

const noNghttp = missing('nghttp', 'nghttp2-client');
describe.skipIf(noNghttp)(`nghttp${noNghttp}`, () => {
  it('gets an answer, with the priorities that it sends', async () => {
    const url = await serve((stream) => stream.respond(204, [], true));
    const log = await run('nghttp', '-nv', '-m', '20', url);
    expect(log.match(/:status: 204/g)).toHaveLength(20);
    expect(log).toContain('PRIORITY');
  });

  it('sends a padded body with trailers through small windows', async () => {
    const url = await serve(echo);
    const args = ['-b', '255', '-w', '10', '-W', '10', '--trailer', 'x-sum: 7', '-d', body];
    const output = await run('nghttp', ...args, url);
    expect(output.length).toBe(3_000_000);
  });

  it('keeps a small header table, and sends long header lists in several frames', async () => {
    const seen: string[] = [];
    const url = await serve((stream) => {
      seen.push(stream.fields.find(([name]) => name === 'x-long')![1]);
      stream.respond(200, [['x-long', seen.at(-1)!]], true);
    });
    const long = 'y'.repeat(20_000);
    const log = await run('nghttp', '-nv', '-m', '3', '--encoder-header-table-size=128', '-H', `x-long: ${long}`, url);
    expect(seen).toEqual([long, long, long]);
    expect(log.match(/:status: 200/g)).toHaveLength(3);
  });

  it('speaks TLS', async () => {
    const log = await run('nghttp', '-nv', '--no-verify-peer', '-d', body, await serve(echo, { tls: true }));
    expect(log).toContain(':status: 200');
  });
});

const noH2load = missing('h2load', 'nghttp2-client');
describe.skipIf(noH2load)(`h2load${noH2load}`, () => {
  const LOADS: Record<string, readonly string[]> = {
    'small requests, many at once': ['-n', '20000', '-c', '10', '-m', '100'],
    'bodies both ways through small windows': [
      '-n',
      '200',
      '-c',
      '4',
      '-m',
      '10',
      '-w',
      '12',
      '-W',
      '14',
      '-d',
      'BODY',
    ],
  };
  for (const [name, args] of Object.entries(LOADS)) {
    it(`${name}`, async () => {
      const url = await serve(echo);
      const count = args[1]!;
      const log = await run('h2load', ...args.map((arg) => (arg === 'BODY' ? body : arg)), url);
      expect(log).toContain(`${count} succeeded, 0 failed, 0 errored, 0 timeout`);
      expect(log).toContain(`${count} 2xx`);
      expect(listening!.server.counters.requests).toBe(Number(count));
    });
  }
});
