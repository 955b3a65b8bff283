import { createServer, type Http2Server, type ServerHttp2Stream, type Settings } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';

/** A message of gRPC with its prefix. */
export function message(bytes: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** `EchoResponse { name: "x" }`. */
export const ECHO = message(Buffer.from([0x0a, 1, 0x78]));
export const GRPC = { ':status': 200, 'content-type': 'application/grpc' };

export interface ScriptedUpstream {
  readonly address: string;
  /** What is done with the next streams, whatever method they call. */
  script: (stream: ServerHttp2Stream) => void;
  /** Fields of the latest request. */
  latest: Readonly<Record<string, string | string[] | undefined>>;
  stop(): Promise<void>;
}

/** An HTTP/2 server that behaves as the test says. */
export async function startScriptedUpstream(port = 0, settings: Settings = {}): Promise<ScriptedUpstream> {
  const sockets = new Set<Socket>();
  const server: Http2Server = createServer({ settings });
  const upstream: ScriptedUpstream = {
    address: '',
    script: (stream) => stream.close(),
    latest: {},
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('stream', (stream, headers) => {
    upstream.latest = headers;
    stream.on('error', () => undefined);
    upstream.script(stream);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return Object.assign(upstream, { address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
}
