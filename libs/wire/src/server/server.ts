import type { Socket } from 'node:net';
import { Endings } from '../http2/endings.js';
import { type ConnectionPeer, peerOf } from '../sockets/peer.js';
import { LoopLag } from '../timers/loop-lag.js';
import { ServerConnection, type ServerConnectionOwner } from './server-connection.js';
import {
  noCounts,
  serverSettings,
  type Http2ServerCounters,
  type Http2ServerOptions,
  type Http2ServerSettings,
} from './server-options.js';
import type { ServerStream } from './server-stream.js';

/**
 * An HTTP/2 server (RFC 9113) for sockets that a listener has accepted and found to speak HTTP/2: by the preface in
 * cleartext, or by ALPN `h2` over TLS.
 */
export class Http2Server implements ServerConnectionOwner {
  readonly settings: Http2ServerSettings;
  readonly counters: Http2ServerCounters = noCounts();
  readonly endings = new Endings();
  readonly lag = new LoopLag();
  /** Told how late we acknowledged a client's SETTINGS, in milliseconds; the time in which they may have waited to be read counts. */
  onSettingsAck: ((ms: number) => void) | undefined;
  private readonly connections = new Set<ServerConnection>();
  private graceTimer: NodeJS.Timeout | undefined;
  private closing: { promise: Promise<void>; resolve: () => void } | undefined;

  /** `onRequest` is called for every request; it sets `stream.events` before it returns, unless the body is of no interest. */
  constructor(
    readonly onRequest: (stream: ServerStream) => void,
    options: Http2ServerOptions = {},
  ) {
    this.settings = serverSettings(options);
  }

  /** Takes over a socket. `read` is what was read of it already, the preface included. */
  accept(socket: Socket, read?: Buffer, peer: ConnectionPeer = peerOf(socket)): ServerConnection {
    if (this.onSettingsAck !== undefined) this.lag.start();
    const connection = new ServerConnection(socket, this, peer);
    this.connections.add(connection);
    if (read !== undefined && read.length > 0) connection.read(read);
    if (this.closing !== undefined) connection.drain();
    return connection;
  }

  /**
   * Says goodbye to every client, lets running requests finish for `graceMs`, then ends them. Resolves when every socket
   * is closed. Called again, the new grace counts.
   */
  close(graceMs: number): Promise<void> {
    if (this.closing === undefined) {
      this.closing = Promise.withResolvers<void>();
      void this.closing.promise.then(() => clearTimeout(this.graceTimer));
      for (const connection of this.connections) connection.drain();
      if (this.connections.size === 0) this.closing.resolve();
    }
    clearTimeout(this.graceTimer);
    if (this.connections.size > 0) {
      this.graceTimer = setTimeout(() => {
        for (const connection of this.connections) connection.lose('the server is closing');
      }, graceMs);
    }
    return this.closing.promise;
  }

  onSocketClosed(connection: ServerConnection): void {
    if (!this.connections.delete(connection)) return;
    this.counters.open--;
    if (this.connections.size > 0) return;
    this.lag.stop();
    this.closing?.resolve();
  }
}
