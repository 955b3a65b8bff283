/**
 * CPU time per unary call of the client side, ours against what a user would otherwise take: an echo of 20 bytes, 50 calls
 * in flight, the server in another process. Medians of alternating rounds; read the ratios.
 *
 *   tsc -b && node --experimental-strip-types libs/wire/src/wire.bench.ts [rounds] [calls per round]
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Client, credentials } from '@grpc/grpc-js';
import { Channel, type CallEvents, type Outcome } from '@sluice/wire';

const PATH = '/bench.Bench/Echo';
const IN_FLIGHT = 50;
const MESSAGE = Buffer.from('twenty bytes of text');
const FRAME = Buffer.concat([Buffer.from([0, 0, 0, 0, MESSAGE.length]), MESSAGE]);

/** One client: starts a call and says when it has ended. */
interface Contestant {
  readonly name: string;
  start(ended: () => void): void;
  close(): Promise<void> | void;
}

function serve(): void {
  const server = createServer({ settings: { headerTableSize: 0, maxConcurrentStreams: 1000 } });
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => stream.end(Buffer.concat(chunks)));
  });
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
}

async function main(rounds: number, calls: number): Promise<void> {
  const child: ChildProcess = fork(process.argv[1]!, ['serve'], { execArgv: process.execArgv });
  const [port] = (await once(child, 'message')) as [number];
  const contestants = [ours(port), http2(port), grpcJs(port)];
  const costs = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const contestant of contestants) {
      const cost = await measure(contestant, calls);
      // The first round warms up.
      if (round > 0) costs.get(contestant.name)!.push(cost);
    }
  }
  for (const contestant of contestants) await contestant.close();
  child.kill();
  const medians = [...costs].map(([name, all]) => [name, all.sort((a, b) => a - b)[all.length >> 1]!] as const);
  const base = medians[0]![1];
  for (const [name, cost] of medians) {
    console.log(
      `${name.padEnd(24)} ${cost.toFixed(1).padStart(7)} µs/call   ours is ${(base / cost).toFixed(3)} of it`,
    );
  }
}

/** CPU µs of this process per call. */
async function measure(contestant: Contestant, calls: number): Promise<number> {
  const before = process.cpuUsage();
  await new Promise<void>((resolve) => {
    let started = 0;
    let ended = 0;
    const next = (): void => {
      if (started < calls) {
        started++;
        contestant.start(onEnded);
      }
    };
    const onEnded = (): void => {
      if (++ended === calls) resolve();
      else next();
    };
    for (let at = 0; at < IN_FLIGHT; at++) next();
  });
  const spent = process.cpuUsage(before);
  return (spent.user + spent.system) / calls;
}

class Events implements CallEvents {
  private readonly ended: () => void;
  constructor(ended: () => void) {
    this.ended = ended;
  }
  onHeaders(): void {}
  onMessage(): void {}
  onEnd(outcome: Outcome): void {
    if (outcome.code !== 0) throw new Error(outcome.message);
    this.ended();
  }
}

function ours(port: number): Contestant {
  const channel = new Channel(`127.0.0.1:${port}`, { connectionsPerAddress: 1 });
  const method = channel.method(PATH);
  return {
    name: 'sluice wire',
    start: (ended) => void channel.unary(method, [], MESSAGE, { deadline: Date.now() + 10_000 }, new Events(ended)),
    close: () => channel.close(100),
  };
}

function http2(port: number): Contestant {
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`, { settings: { enablePush: false } });
  return {
    name: 'node:http2',
    start(ended) {
      const stream = session.request({
        ':method': 'POST',
        ':path': PATH,
        te: 'trailers',
        'content-type': 'application/grpc',
        'grpc-timeout': '10000m',
      });
      stream.on('trailers', () => {});
      stream.on('data', () => {});
      stream.on('end', ended);
      stream.end(FRAME);
    },
    close: () => session.close(),
  };
}

function grpcJs(port: number): Contestant {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    name: '@grpc/grpc-js',
    start(ended) {
      client.makeUnaryRequest(PATH, same, same, MESSAGE, { deadline: Date.now() + 10_000 }, (error) => {
        if (error !== null) throw error;
        ended();
      });
    },
    close: () => client.close(),
  };
}

if (process.argv[2] === 'serve') serve();
else await main(Number(process.argv[2] ?? 7), Number(process.argv[3] ?? 20_000));
