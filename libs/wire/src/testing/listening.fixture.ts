/** Our server on a port of its own, in cleartext or over TLS, for clients that are processes of their own. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { delimiter, join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { expect } from 'vitest';
import type { Http2ServerOptions } from '../server/server-options.js';
import { Http2Server } from '../server/server.js';
import type { ServerStream } from '../server/server-stream.js';
import { CERTIFICATE, KEY } from './certificate.js';

export interface ListenOptions {
  readonly tls?: boolean;
  readonly port?: number;
  readonly http2?: Http2ServerOptions;
}

export class Listening {
  private constructor(
    readonly server: Http2Server,
    readonly listener: Server,
  ) {}

  static async start(handler: (stream: ServerStream) => void, options: ListenOptions = {}): Promise<Listening> {
    const server = new Http2Server(handler, options.http2);
    const accept = (socket: Socket): void => void server.accept(socket);
    const listener =
      options.tls === true
        ? createTlsServer({ key: KEY, cert: CERTIFICATE, ALPNProtocols: ['h2'] }, accept)
        : createServer(accept);
    listener.listen(options.port ?? 0, '127.0.0.1');
    await once(listener, 'listening');
    return new Listening(server, listener);
  }

  get port(): number {
    return (this.listener.address() as AddressInfo).port;
  }

  /** Ends everything; no client may have been taken for a broken one, and nothing may be left. */
  async close(): Promise<void> {
    this.listener.close();
    await this.server.close(0);
    expect(this.server.counters).toMatchObject({ open: 0, streams: 0, connectionErrors: 0, malformed: 0 });
  }
}

/** Where a command is on this machine, if it is. */
export function commandPath(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
