import type { Socket } from 'node:net';
import { type ConnectionPeer, peerOf } from '../sockets/peer.js';
import { Http1Connection, type Http1ConnectionOwner } from './connection.js';
import type { Http1Handler, Http1ServerCounters, Http1ServerSettings } from './http1-options.js';

/** How often a connection looks after its client's timeouts, at most and at least, in milliseconds. */
const PATROL_MS = [10, 5_000] as const;

/** An HTTP/1.1 server (RFC 9112) for sockets that a listener has accepted. */
export class Http1Server implements Http1ConnectionOwner {
  readonly counters: Http1ServerCounters = {
    connections: 0,
    open: 0,
    requests: 0,
    malformed: 0,
    headersTooLarge: 0,
    headersTimeouts: 0,
    writeTimeouts: 0,
    idleTimeouts: 0,
  };
  readonly patrolMs: number;
  /** Every response asks its client to close the connection. */
  draining = false;
  private readonly connections = new Set<Http1Connection>();

  constructor(
    readonly handler: Http1Handler,
    readonly settings: Http1ServerSettings,
  ) {
    const { headersTimeoutMs, idleTimeoutMs, writeTimeoutMs } = settings;
    const shortest = Math.min(headersTimeoutMs, idleTimeoutMs, writeTimeoutMs);
    this.patrolMs = Math.min(PATROL_MS[1], Math.max(PATROL_MS[0], shortest / 4));
  }

  /** Takes over a socket. `read` is what was read of it already. */
  accept(socket: Socket, read: Buffer, peer: ConnectionPeer = peerOf(socket)): Http1Connection {
    const connection = new Http1Connection(socket, this, peer);
    this.connections.add(connection);
    if (read.length > 0) connection.read(read);
    else socket.resume();
    return connection;
  }

  /** Closes connections on which nothing happens. */
  closeIdle(): void {
    for (const connection of this.connections) connection.closeIdle();
  }

  /** Ends every connection now. */
  stop(): void {
    for (const connection of this.connections) connection.cut();
  }

  onSocketClosed(connection: Http1Connection): void {
    if (this.connections.delete(connection)) this.counters.open--;
  }
}
