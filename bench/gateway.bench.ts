/**
 * The gateway against what one would use or write instead: NestJS with grpc-js, and grpc-gateway in Go where Go is installed.
 * CPU time of the gateway's process per call, medians of alternating rounds; one gRPC service, too cheap to
 * hold any of them up, stands behind all of them. h2load makes the calls, 64 at a time, on a core of its own.
 *
 *   npm run bench gateway [rounds] [calls per round] [part of a title, to run one table]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { contest, contestTable, resident, type Contestant } from '@sluice/testing';
import {
  bench,
  folder,
  missing,
  peer,
  root,
  type Running,
  started,
  startEcho,
  startGateway,
  stopAll,
} from './processes.js';

const rounds = Number(process.argv[2] ?? 5);
const calls = Number(process.argv[3] ?? 10_000);
const only = process.argv[4] ?? '';
/** What the gateway needs to see that its clients have left, and to collect garbage in quiet. */
const AFTER_MS = 10_000;

if (missing('h2load')) throw new Error('h2load is missing: apt-get install nghttp2-client');

type Protocol = 'HTTP/1.1' | 'h2c';

try {
  const { echo, address, proto, token, settings } = await startEcho();
  const full = await startGateway('gateway-full.yaml', settings);
  const unlimited = await startGateway('gateway-full.yaml', { ...settings, RATE_LIMIT_ENABLED: 'false' });
  const bare = await startGateway('gateway.yaml', settings);
  await idleConnections(bare);
  const nest = await peer('nest-gateway', [bench, proto, address]);
  const fixed = await peer('fixed-answer', []);
  const go = await startGo(address);

  const contestant = (
    name: string,
    { child, port }: Running,
    protocol: Protocol,
    path: string,
    more: string[],
  ): Contestant => ({
    name,
    processes: { gateway: child.pid!, service: echo.pid! },
    run: (count) => load(port, protocol, path, [...more, '-H', `authorization: Bearer ${token}`], count),
  });
  for (const [size, share] of [
    [50, 1],
    [1024, 1],
    [100 * 1024, 0.05],
  ] as const) {
    const file = join(folder, `body-${size}`);
    writeFileSync(file, JSON.stringify({ text: 'x'.repeat(Math.max(1, size - 27)), number: '42' }));
    const json = ['-d', file, '-H', 'content-type: application/json'];
    const path = '/echo/postcard';
    await table(`POST /echo/{name}, ${size} octets`, share, [
      contestant('Sluice, HTTP/1.1, every stage', full, 'HTTP/1.1', path, json),
      contestant('Sluice, HTTP/1.1, no limits', unlimited, 'HTTP/1.1', path, json),
      contestant('Sluice, HTTP/1.1, no auth or limits', bare, 'HTTP/1.1', path, json),
      contestant('Sluice, h2c, every stage', full, 'h2c', path, json),
      contestant('Sluice, h2c, no auth or limits', bare, 'h2c', path, json),
      contestant('NestJS + grpc-js, HTTP/1.1', nest, 'HTTP/1.1', path, json),
      ...(go ? [contestant('grpc-gateway (Go), HTTP/1.1', go, 'HTTP/1.1', path, json)] : []),
      ...(size === 50 ? [contestant('node:net, a fixed answer', fixed, 'HTTP/1.1', path, json)] : []),
    ]);
  }
  await table('GET /count/1000, a stream of 1000 messages', 0.005, [
    contestant('Sluice, HTTP/1.1, every stage', full, 'HTTP/1.1', '/count/1000', []),
    contestant('Sluice, h2c, every stage', full, 'h2c', '/count/1000', []),
    ...(go ? [contestant('grpc-gateway (Go), HTTP/1.1', go, 'HTTP/1.1', '/count/1000', [])] : []),
  ]);
  const grpcBody = join(folder, 'message');
  const message = Buffer.from([0x0a, 3, 0x61, 0x6e, 0x6e]);
  writeFileSync(grpcBody, Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
  const grpc = ['-d', grpcBody, '-H', 'content-type: application/grpc', '-H', 'te: trailers'];
  await table('gRPC passed through, unary', 1, [
    contestant('Sluice, h2c, every stage', full, 'h2c', '/sluice.bench.v1.EchoService/Echo', grpc),
    contestant('Sluice, h2c, no auth or limits', bare, 'h2c', '/sluice.bench.v1.EchoService/Echo', grpc),
  ]);
} finally {
  stopAll();
}

async function table(title: string, share: number, contestants: Contestant[]): Promise<void> {
  if (!title.includes(only)) return;
  const count = Math.max(64, Math.round(calls * share));
  const results = await contest(contestants, { rounds, calls: count });
  console.log(`\n${title}; medians of ${rounds} rounds of ${count} calls\n${contestTable(results)}`);
}

/** @throws when not every answer is 200 */
async function load(port: number, protocol: Protocol, path: string, more: string[], count: number): Promise<void> {
  const shape = protocol === 'HTTP/1.1' ? ['--h1', '-c', '64', '-m', '1'] : ['-c', '4', '-m', '16'];
  const args = [...shape, '-n', String(count), ...more, `http://127.0.0.1:${port}${path}`];
  const child = spawn('taskset', ['-c', '1', 'h2load', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  await once(child, 'exit');
  if (!printed.includes(`status codes: ${count} 2xx`)) throw new Error(printed);
}

/** grpc-gateway on one core of Go's, or undefined with the reason on the terminal. */
async function startGo(address: string): Promise<Running | undefined> {
  const needed = ['go', 'protoc', 'protoc-gen-grpc-gateway'].filter(missing);
  if (needed.length > 0) {
    console.log(
      `Without grpc-gateway (Go): ${needed.join(', ')} missing; bench/peers/go-gateway/build.sh says what to install.`,
    );
    return undefined;
  }
  const program = join(folder, 'go-gateway');
  execFileSync('sh', [join(bench, 'peers/go-gateway/build.sh'), join(folder, 'go'), program], { cwd: root });
  const child = spawn(program, [address], {
    env: { ...process.env, GOMAXPROCS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, port: Number(line.toString()) };
}

/** Resident memory before, with and after idle connections of HTTP/1.1, each of which has had one answer; twice, so that what stays can be told from what is added. */
async function idleConnections({ child, port }: Running): Promise<void> {
  const residentNow = () => Math.round(resident(child.pid!).all);
  const before = residentNow();
  const figures: string[] = [];
  for (let time = 1; time <= 2; time++) {
    const sockets: Socket[] = [];
    for (let index = 0; index < 10_000; index++) {
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      socket.on('error', (error) => console.error(error.message));
      socket.write('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n');
      if (index % 50 === 49) await once(socket, 'data');
    }
    const open = readdirSync(`/proc/${child.pid}/fd`).length;
    const during = residentNow();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, AFTER_MS));
    figures.push(`${during} MB with them (${open} descriptors), ${residentNow()} MB when they have left`);
  }
  console.log(`\n10 000 idle connections: ${before} MB before, ${figures.join('; again: ')}`);
}
