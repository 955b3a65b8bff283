/**
 * CPU time per unary call of a NestJS microservice, on our server and on Nest's own, the same handler. Each server runs
 * alone in its process; medians of alternating rounds.
 *
 *   npx tsc -b && node --experimental-strip-types libs/nest-transport/src/nest.bench.ts [rounds] [calls per round]
 */
import 'reflect-metadata';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { loadSync } from '@grpc/proto-loader';
import { grpcMicroservice } from '@sluice/nest-transport';
import { Channel, type CallEvents, type Outcome } from '@sluice/wire';

const protoPath = fileURLToPath(new URL('./testing/conformance.proto', import.meta.url));
const PATH = '/conformance.v1.Conformance/Echo';
const IN_FLIGHT = 50;
const KINDS = ['wire', 'grpc-js'] as const;

// Decorators are applied by hand: Node runs this file without a compiler.
class EchoController {
  echo(request: unknown): unknown {
    return request;
  }
}
Controller()(EchoController);
GrpcMethod('Conformance', 'Echo')(
  EchoController.prototype,
  'echo',
  Object.getOwnPropertyDescriptor(EchoController.prototype, 'echo')!,
);
class EchoModule {}
Module({ controllers: [EchoController] })(EchoModule);

async function serve(kind: (typeof KINDS)[number], port: number): Promise<void> {
  const app = await NestFactory.createMicroservice(EchoModule, {
    ...grpcMicroservice(kind, {
      url: `127.0.0.1:${port}`,
      package: 'conformance.v1',
      protoPath,
      loader: { keepCase: true, defaults: true },
    }),
    logger: false,
  });
  await app.listen();
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send!(user + system);
  });
  process.send!('ready');
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

async function run(channel: Channel, message: Buffer, calls: number): Promise<void> {
  const method = channel.method(PATH);
  await new Promise<void>((resolve) => {
    let started = 0;
    let ended = 0;
    const next = (): void => {
      if (started === calls) return;
      started++;
      channel.unary(method, [], message, { deadline: Date.now() + 10_000 }, new Events(onEnded));
    };
    const onEnded = (): void => {
      if (++ended === calls) resolve();
      else next();
    };
    for (let at = 0; at < IN_FLIGHT; at++) next();
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  return ((await once(child, 'message')) as [number])[0];
}

async function main(rounds: number, calls: number): Promise<void> {
  const definition = loadSync(protoPath, { keepCase: true });
  const echo = (
    definition['conformance.v1.Conformance'] as unknown as Record<string, { requestSerialize(value: object): Buffer }>
  )['Echo']!;
  const message = echo.requestSerialize({ text: 'twenty bytes of text', count: 7 });
  const peers = await Promise.all(
    KINDS.map(async (kind) => {
      const port = await freePort();
      const child = fork(process.argv[1]!, ['serve', kind, String(port)], { execArgv: process.execArgv });
      await once(child, 'message');
      return {
        kind,
        child,
        channel: new Channel(`127.0.0.1:${port}`, { connectionsPerAddress: 1 }),
        costs: [] as number[],
      };
    }),
  );
  for (let round = 0; round <= rounds; round++) {
    for (const { child, channel, costs } of peers) {
      const before = await cpuOf(child);
      await run(channel, message, calls);
      if (round > 0) costs.push(((await cpuOf(child)) - before) / calls);
    }
  }
  const medians = peers.map(({ costs }) => costs.sort((a, b) => a - b)[costs.length >> 1]!);
  console.log('\nNestJS microservice, unary echo of 20 bytes');
  peers.forEach(({ kind }, at) => {
    console.log(
      `  ${kind.padEnd(16)} ${medians[at]!.toFixed(1).padStart(8)} µs   ours is ${(medians[0]! / medians[at]!).toFixed(3)} of it`,
    );
  });
  for (const { child, channel } of peers) {
    await channel.close(100);
    child.kill();
  }
}

if (process.argv[2] === 'serve') await serve(process.argv[3] as 'wire', Number(process.argv[4]));
else await main(Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 10_000));
