/**
 * CPU time per call of one side, ours against what a user would otherwise take. The side that is measured runs alone in its
 * process; the other side is the cheapest there is. Medians of alternating rounds: read the ratios, not the numbers.
 *
 *   npx tsc -b && node --experimental-strip-types libs/wire/src/wire.bench.ts [rounds] [calls per round] [part of a title]
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session } from 'node:http2';
import { createServer as createListener, type AddressInfo } from 'node:net';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { Channel, FixedFields, GrpcServerCall, Http2Server, type CallEvents, type Outcome } from '@sluice/wire';

const ECHO = '/bench.Bench/Echo';
const FIXED = '/bench.Bench/Fixed';
const STREAM = '/bench.Bench/Stream';
const IN_FLIGHT = 50;
const STREAM_MESSAGES = 1_000;
const SMALL: Buffer = Buffer.from('twenty bytes of text');
const LARGE: Buffer = Buffer.alloc(100_000, 'x');
const same = (bytes: Buffer): Buffer => bytes;
const framed = (message: Buffer): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};

/** A client: starts a call and says when it has ended. */
interface Contestant {
  readonly name: string;
  start(ended: () => void): void;
  close(): Promise<void> | void;
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

function wireClient(port: number, path = ECHO, message = SMALL): Contestant {
  const channel = new Channel(`127.0.0.1:${port}`, { connectionsPerAddress: 1 });
  const method = channel.method(path);
  return {
    name: 'sluice wire',
    start: (ended) => void channel.unary(method, [], message, { deadline: Date.now() + 10_000 }, new Events(ended)),
    close: () => channel.close(100),
  };
}

function http2Client(port: number): Contestant {
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`, { settings: { enablePush: false } });
  const frame = framed(SMALL);
  const headers = {
    ':method': 'POST',
    ':path': ECHO,
    te: 'trailers',
    'content-type': 'application/grpc',
    'grpc-timeout': '10000m',
  };
  return {
    name: 'node:http2',
    start(ended) {
      const stream = session.request(headers);
      stream.on('trailers', () => {});
      stream.on('data', () => {});
      stream.on('end', ended);
      stream.end(frame);
    },
    close: () => session.close(),
  };
}

function grpcJsClient(port: number): Contestant {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    name: '@grpc/grpc-js',
    start(ended) {
      client.makeUnaryRequest(ECHO, same, same, SMALL, { deadline: Date.now() + 10_000 }, (error) => {
        if (error !== null) throw error;
        ended();
      });
    },
    close: () => client.close(),
  };
}

const servers: Record<string, () => Promise<number>> = {
  async 'sluice wire'() {
    const fixed = new FixedFields([['content-type', 'application/grpc']]);
    const server = new Http2Server((stream) => {
      if (stream.path === FIXED) {
        stream.respond(200, [['grpc-status', '0']], true, fixed);
        return;
      }
      const call = GrpcServerCall.accept(stream, { maxMessageBytes: 1_000_000 })!;
      if (stream.path === STREAM) {
        call.events = {
          onMessage: () => {
            for (let at = 0; at < STREAM_MESSAGES; at++) call.sendMessage(SMALL);
            call.sendStatus(0);
          },
          onHalfClose: () => {},
          onCancel: () => {},
        };
      } else {
        call.events = {
          onMessage: (message) => void call.sendMessage(message),
          onHalfClose: () => call.sendStatus(0),
          onCancel: () => {},
        };
      }
    });
    const listener = createListener((socket) => server.accept(socket));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return (listener.address() as AddressInfo).port;
  },
  async 'node:http2'() {
    const server = createServer({ settings: { maxConcurrentStreams: 1000 } });
    const frame = framed(SMALL);
    server.on('stream', (stream, headers) => {
      const path = headers[':path'];
      if (path === FIXED) {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' }, { endStream: true });
        return;
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (path === STREAM) for (let at = 0; at < STREAM_MESSAGES; at++) stream.write(frame);
        stream.end(path === STREAM ? undefined : Buffer.concat(chunks));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
  async '@grpc/grpc-js'() {
    const server = new Server();
    const echo = {
      path: ECHO,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    server.addService(
      { echo },
      { echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, call.request) },
    );
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  },
};

interface Peer {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
}

async function startPeer(name: string): Promise<Peer> {
  const child = fork(process.argv[1]!, ['serve', name], { execArgv: process.execArgv });
  const [port] = (await once(child, 'message')) as [number];
  return { name, port, process: child };
}

/** CPU µs that the peer has spent so far. */
async function cpuOf({ process: child }: Peer): Promise<number> {
  child.send('cpu');
  return ((await once(child, 'message')) as [number])[0];
}

const ownCpu = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function run(contestant: Contestant, calls: number): Promise<void> {
  await new Promise<void>((resolve) => {
    let started = 0;
    let ended = 0;
    const next = (): void => {
      if (started === calls) return;
      started++;
      contestant.start(onEnded);
    };
    const onEnded = (): void => {
      if (++ended === calls) resolve();
      else next();
    };
    for (let at = 0; at < IN_FLIGHT; at++) next();
  });
}

interface Row {
  readonly name: string;
  /** CPU µs per call of one round. */
  round(): Promise<number>;
}

/** Rounds in turn; the first warms up. Prints medians, and our share of each: in the median, and in the best and worst round. */
async function compare(title: string, rounds: number, rows: readonly Row[]): Promise<void> {
  const costs = new Map<string, number[]>(rows.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      const cost = await row.round();
      if (round > 0) costs.get(row.name)!.push(cost);
    }
  }
  const [ours] = costs.values();
  console.log(`\n${title}`);
  for (const [name, theirs] of costs) {
    const shares = ours!.map((cost, round) => cost / theirs[round]!);
    console.log(
      `  ${name.padEnd(16)} ${median(theirs).toFixed(1).padStart(8)} µs   ours is ${median(shares).toFixed(3)} of it ` +
        `(${Math.min(...shares).toFixed(2)} to ${Math.max(...shares).toFixed(2)})`,
    );
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

async function main(rounds: number, calls: number, wanted: string): Promise<void> {
  const peers = await Promise.all(Object.keys(servers).map(startPeer));
  const [wire, http2] = peers as [Peer, Peer];
  const clients = [wireClient(wire.port), http2Client(wire.port), grpcJsClient(wire.port)];
  const measure = (title: string, rows: readonly Row[]): Promise<void> | undefined =>
    title.includes(wanted) ? compare(title, rounds, rows) : undefined;
  await measure(
    'client, unary echo of 20 bytes',
    clients.map((client) => ({
      name: client.name,
      async round() {
        const before = ownCpu();
        await run(client, calls);
        return (ownCpu() - before) / calls;
      },
    })),
  );
  const open: Contestant[] = [...clients];
  const serverRows = (against: readonly Peer[], path: string, message: Buffer, share: number): Row[] =>
    against.map((peer) => {
      const client = wireClient(peer.port, path, message);
      open.push(client);
      return {
        name: peer.name,
        async round() {
          const before = await cpuOf(peer);
          await run(client, calls * share);
          return ((await cpuOf(peer)) - before) / (calls * share);
        },
      };
    });
  await measure('server, fixed answer', serverRows([wire, http2], FIXED, SMALL, 1));
  await measure('server, unary echo of 20 bytes', serverRows(peers, ECHO, SMALL, 1));
  await measure('server, echo of 100 KB', serverRows([wire, http2], ECHO, LARGE, 0.05));
  await measure('server, stream of 1000 messages', serverRows([wire, http2], STREAM, SMALL, 0.01));
  for (const client of open) await client.close();
  for (const peer of peers) peer.process.kill();
}

if (process.argv[2] === 'serve') {
  process.on('message', () => process.send!(ownCpu()));
  process.send!(await servers[process.argv[3]!]!());
} else await main(Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 20_000), process.argv[4] ?? '');
