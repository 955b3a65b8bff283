/**
 * What a minute of mixed load leaves in the gateway, with every stage on: resident memory and open descriptors before and after, and how
 * resident memory moved in the later half of all the load. Beside well-behaved clients of every protocol and size there are some that
 * leave, cut their requests short, never read, send rubbish or bad tokens. A minute goes before, so that what is filled once (code,
 * caches, pools) is there already; and the minute comes three times, so that a plateau can be told from a slope.
 *
 * What is alive is told at the beginning and at the end alone: a collection that is forced makes V8 hand pages back and map others, and resident
 * memory grow by itself.
 *
 *   npm run bench gateway-growth [seconds]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { laterTrend, resident, trendInWords, type Resident, type Sample } from '@sluice/testing';
import type { MemoryReport } from './peers/memory-report.js';
import { folder, missing, startEcho, startGateway, stopAll } from './processes.js';

const seconds = Number(process.argv[2] ?? 60);
if (missing('h2load')) throw new Error('h2load is missing: apt-get install nghttp2-client');

const report = fileURLToPath(new URL('./peers/memory-report.js', import.meta.url));
const TIMES = 3;
/** What sockets that were cut need to be gone, with every time limit of the gateway that applies to them. */
const QUIET_MS = 5000;
const SAMPLE_MS = 5000;

type Column = MemoryReport & { resident: Resident };

try {
  const { token, settings } = await startEcho();
  const gateway = await startGateway('gateway-full.yaml', {
    ...settings,
    NODE_OPTIONS: `--expose-gc --import=${report}`,
  });
  const fresh = await memory(gateway.child, 'collect');
  await load(gateway.port, token, seconds);
  const columns: [string, Column][] = [['before', await memory(gateway.child)]];
  const samples: Sample[] = [];
  let loaded = 0;
  for (let time = 1; time <= TIMES; time++) {
    const began = loaded;
    const timer = setInterval(() => {
      loaded += SAMPLE_MS / 1000;
      samples.push({ seconds: loaded, value: resident(gateway.child.pid!).all });
    }, SAMPLE_MS);
    const calls = await load(gateway.port, token, seconds);
    clearInterval(timer);
    loaded = began + seconds;
    columns.push([`after ${time * seconds} s`, await memory(gateway.child)]);
    console.log(`${calls} calls in ${seconds} s`);
  }
  columns.push(['collected', await memory(gateway.child, 'collect')]);
  print([['fresh', fresh], ...columns]);
  console.log(`\n${trendInWords('resident memory under load', laterTrend(samples))}`);
} finally {
  stopAll();
}

async function memory(child: ChildProcess, request: 'report' | 'collect' = 'report'): Promise<Column> {
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  child.send(request);
  const [told] = (await once(child, 'message')) as [MemoryReport];
  return { ...told, resident: resident(child.pid!) };
}

function print(columns: readonly [string, Column][]): void {
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MB`;
  const whole = (value: number) => `${value.toFixed(1)} MB`;
  const rows: [string, (of: Column) => string][] = [
    ['resident', (of) => whole(of.resident.all)],
    ['  by brk', (of) => whole(of.resident.brk)],
    ['  anonymous', (of) => whole(of.resident.anonymous)],
    ['  files', (of) => whole(of.resident.file)],
    ['heap, reserved', ({ heapTotal }) => megabytes(heapTotal)],
    ['heap', ({ heapUsed }) => megabytes(heapUsed)],
    ['buffers', ({ external }) => megabytes(external)],
    ['descriptors', ({ descriptors }) => String(descriptors)],
    ['sockets', ({ sockets }) => String(sockets)],
  ];
  console.log(`\n${''.padEnd(14)}${columns.map(([name]) => name.padStart(14)).join('')}`);
  for (const [name, value] of rows) {
    console.log(`${name.padEnd(14)}${columns.map(([, of]) => value(of).padStart(14)).join('')}`);
  }
}

/** @returns how many calls were answered */
async function load(port: number, token: string, duration: number): Promise<number> {
  const origin = `http://127.0.0.1:${port}`;
  const body = (size: number) => {
    const file = join(folder, `growth-${size}`);
    writeFileSync(file, JSON.stringify({ text: 'x'.repeat(size) }));
    return ['-d', file, '-H', 'content-type: application/json', `${origin}/echo/postcard`];
  };
  const grpcBody = join(folder, 'growth-grpc');
  writeFileSync(grpcBody, Buffer.from([0, 0, 0, 0, 5, 0x0a, 3, 0x61, 0x6e, 0x6e]));
  const grpc = (type: string) => [
    ...['-d', grpcBody, '-H', `content-type: ${type}`],
    `${origin}/sluice.bench.v1.EchoService/Echo`,
  ];
  const shapes = [
    ['--h1', '-c16', ...body(50)],
    ['-c4', '-m8', ...body(1024)],
    ['--h1', '-c2', ...body(100_000)],
    ['-c2', '-m2', ...body(100_000)],
    ['--h1', '-c2', `${origin}/count/1000`],
    ['-c2', '-m4', `${origin}/count/1000`],
    ['-c2', '-m8', ...grpc('application/grpc')],
    ['--h1', '-c4', ...grpc('application/grpc-web+proto')],
    ['--h1', '-c4', `${origin}/nothing`],
  ];
  const trouble = misbehave(port, token);
  const counts = await Promise.all(shapes.map((shape) => h2load(duration, token, shape)));
  trouble();
  return counts.reduce((sum, count) => sum + count, 0);
}

async function h2load(duration: number, token: string, shape: readonly string[]): Promise<number> {
  const args = [`-D${duration}`, '-H', `authorization: Bearer ${token}`, ...shape];
  const child = spawn('h2load', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  // Its last words may come after its end.
  await once(child, 'close');
  const found = /(\d+) done, (\d+) succeeded/.exec(printed);
  if (!found || Number(found[1]) === 0) throw new Error(printed);
  return Number(found[1]);
}

/** Twenty clients a second that do something that no client should. */
function misbehave(port: number, token: string): () => void {
  const authorization = `Authorization: Bearer ${token}\r\n`;
  const head = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${authorization}${more}\r\n`;
  const post = (length: number) => head('/echo/a', `Content-Length: ${length}\r\n`).replace('GET', 'POST');
  const badTokens = Array.from({ length: 100 }, (_, index) => `Authorization: Bearer a.b.${index}\r\n`);
  let turn = 0;
  const tricks = [
    () => head('/count/100000'), // never reads, or leaves in the middle
    () => `${post(1000)}{"text":`,
    () => post(100_000_000),
    () => 'GET /echo/a HTT',
    () => '\x16\x03\x01nonsense\r\n\r\n',
    () => head('/echo/a', `X-A: ${'a'.repeat(40_000)}\r\n`),
    () => head('/echo/a').replace(authorization, badTokens[turn % badTokens.length]!),
    () => head('/echo/a').repeat(50),
    () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0',
    () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage garbage garbage',
  ];
  const timer = setInterval(() => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    if (turn % 3 === 0) socket.pause();
    else socket.resume();
    socket.write(tricks[turn++ % tricks.length]!(), 'latin1');
    setTimeout(() => (turn % 2 === 0 ? socket.resetAndDestroy() : socket.destroy()), 2000 * Math.random());
  }, 50);
  return () => clearInterval(timer);
}
