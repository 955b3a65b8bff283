/** Our server behind a listening socket, and clients whose every byte the test decides. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { PREFACE } from '../http2/frames.js';
import { Http2Server } from '../server/server.js';
import type { Http2ServerOptions } from '../server/server-options.js';
import type { ServerStream } from '../server/server-stream.js';
import { PeerConnection } from './scripted-peer.js';
import { settings } from './frames.js';

export class Served {
  readonly requests: ServerStream[] = [];
  private readonly peers: PeerConnection[] = [];

  private constructor(
    readonly server: Http2Server,
    private readonly listener: Server,
  ) {}

  static async start(onRequest: (stream: ServerStream) => void, options: Http2ServerOptions = {}): Promise<Served> {
    const server = new Http2Server((stream) => {
      served.requests.push(stream);
      onRequest(stream);
    }, options);
    const listener = createServer((socket) => server.accept(socket));
    const served = new Served(server, listener);
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return served;
  }

  get port(): number {
    return (this.listener.address() as AddressInfo).port;
  }

  /** A client that has sent the preface, if any. */
  connect(preface: Uint8Array = Buffer.concat([PREFACE, settings()])): PeerConnection {
    const peer = new PeerConnection(connect(this.port, '127.0.0.1'), false);
    this.peers.push(peer);
    if (preface.length > 0) peer.send(preface);
    return peer;
  }

  async close(): Promise<void> {
    const closed = this.server.close(0);
    for (const { socket } of this.peers) socket.destroy();
    this.listener.close();
    await closed;
  }
}

/** Answers with the body that came, when it has come. */
export function echo(stream: ServerStream): void {
  stream.events = {
    onData: (chunk) => {
      if (!stream.responded) stream.respond(200, []);
      if (!stream.write(Buffer.from(chunk))) stream.pause();
    },
    onEnd: () => {
      if (!stream.responded) stream.respond(200, []);
      stream.end();
    },
    onReset: () => {},
    onDrain: () => stream.resume(),
  };
}
