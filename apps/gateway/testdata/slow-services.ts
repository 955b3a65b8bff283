/** `EchoService` on three servers: Echo answers with its request after a while, Hang never. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import { GrpcServerCall, Http2Server, type ServerStream } from '@sluice/wire';

/** How long Echo takes. */
const ECHO_MS = 50;
const ECHO = '/echo.v1.EchoService/Echo';
const HANG = '/echo.v1.EchoService/Hang';
const GO_PATH = '/usr/share/gocode';

export const goInstalled = existsSync('/usr/bin/go') && existsSync(join(GO_PATH, 'src/google.golang.org/grpc'));

export interface SlowService {
  readonly port: number;
  stop(): Promise<void> | void;
}

export const slowServices: Readonly<Record<string, () => Promise<SlowService>>> = {
  wire: startWireService,
  'grpc-js': startGrpcJsService,
  ...(goInstalled ? { 'grpc-go': startGoService } : {}),
};

async function startWireService(): Promise<SlowService> {
  const server = new Http2Server(serve);
  const listener = await listening(createServer((socket) => server.accept(socket)));
  return {
    port: (listener.address() as AddressInfo).port,
    async stop() {
      listener.close();
      await server.close(0);
    },
  };
}

function serve(stream: ServerStream): void {
  const call = GrpcServerCall.accept(stream, { maxMessageBytes: 65_536 });
  if (call === undefined) return;
  let answer: NodeJS.Timeout | undefined;
  call.events = {
    onMessage(message) {
      if (call.path !== ECHO) return;
      answer = setTimeout(() => {
        call.sendMessage(message);
        call.sendStatus(0);
      }, ECHO_MS);
    },
    onHalfClose() {},
    onCancel: () => clearTimeout(answer),
  };
}

async function startGrpcJsService(): Promise<SlowService> {
  const server = new Server();
  const raw = (value: Buffer) => value;
  const echo = (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) =>
    setTimeout(() => callback(null, call.request), ECHO_MS);
  server.register(ECHO, echo, raw, raw, 'unary');
  server.register(HANG, () => undefined, raw, raw, 'unary');
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  return { port: port!, stop: () => server.forceShutdown() };
}

async function startGoService(): Promise<SlowService> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-go-'));
  const peer = join(folder, 'go-peer');
  await promisify(execFile)('go', ['build', '-o', peer, '.'], {
    cwd: fileURLToPath(new URL('../../../libs/wire/src/peers/go-peer', import.meta.url)),
    env: { ...process.env, GO111MODULE: 'off', GOPATH: GO_PATH },
  });
  const child = spawn(peer, ['serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const address = await new Promise<string>((resolve) => {
    child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
  });
  child.stdout.resume();
  return {
    port: Number(address.split(':')[1]),
    stop() {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Stands before a service, and can hold back everything that is sent to it, as if the service stood still. */
export class StallingProxy {
  private readonly sockets = new Set<Socket>();
  private stalled = false;

  private constructor(private readonly listener: TcpServer) {}

  static async before(port: number): Promise<StallingProxy> {
    const listener = createServer({ noDelay: true }, (client) => proxy.relay(client, port));
    const proxy = new StallingProxy(listener);
    await listening(listener);
    return proxy;
  }

  get port(): number {
    return (this.listener.address() as AddressInfo).port;
  }

  private relay(client: Socket, port: number): void {
    const service = connect({ port, host: '127.0.0.1', noDelay: true });
    client.pipe(service);
    service.pipe(client);
    for (const [each, other] of [
      [client, service],
      [service, client],
    ] as const) {
      each.on('error', () => undefined);
      each.on('close', () => other.destroy());
      this.sockets.add(each);
      if (this.stalled) each.pause();
    }
  }

  /** A service that stands still takes nothing and says nothing. */
  stall(): void {
    this.stalled = true;
    for (const socket of this.sockets) socket.pause();
  }

  goOn(): void {
    this.stalled = false;
    for (const socket of this.sockets) socket.resume();
  }

  stop(): void {
    for (const socket of this.sockets) socket.destroy();
    this.listener.close();
  }
}

async function listening(server: TcpServer): Promise<TcpServer> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
