import { randomBytes } from 'node:crypto';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from 'node:tls';
import { ConfigurationError, holderOf } from '@sluice/config';
import { plainAddress } from '@sluice/identity';
import type { Endings, Handshake } from '@sluice/wire';
import type { Transport } from '../exchange.js';
import { Certificates, subjectOf, type TlsFiles } from './certificates.js';
import type { ClientConnection } from './clients.js';
import { awaitProxyHeader } from './proxy-protocol.js';
import { http1Server } from './http1-server.js';
import { http2Server } from './http2-server.js';
import type { LimitHit, ListenerOptions } from './options.js';

export interface Listener {
  /** The port without TLS, as bound. */
  readonly port: number;
  readonly tlsPort: number | undefined;
  /** Sockets that are open. */
  connections(): number;
  /** How often clients hit a limit so far. */
  hits(limit: LimitHit): number;
  /** How streams and connections of HTTP/2 ended so far. */
  readonly endings: Endings;
  /** When the first of the certificates expires; undefined without TLS. */
  certificatesExpireAt(): Date | undefined;
  /** New handshakes get what the files contain now. @throws ConfigurationError when they cannot be used; the old ones stay */
  renewCertificates(files: TlsFiles): void;
  /** Takes no new connections, tells the clients of open ones to go (GOAWAY, `Connection: close`), and ends when the last has; at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** What Node's tickets are made with. */
const TICKET_KEYS_OCTETS = 48;

/** What both protocols' connections begin with is told apart by three bytes: no HTTP/1.1 method begins with `PRI` (RFC 9113 section 3.4). */
const PREFACE_START = Buffer.from('PRI');
const NOTHING = Buffer.alloc(0);

/**
 * A connection that carried nothing for so long, in milliseconds, is closed when the listener does; a client that is in the
 * middle of one request after another is told with its next answer instead, so that none of its requests is lost.
 */
const IDLE_NOTICE_MS = 1000;

/**
 * Listens on one port for HTTP/1.1 and HTTP/2 with prior knowledge, and on another for both over TLS by ALPN.
 *
 * @param handle gets every request
 * @throws ConfigurationError when a port is taken or the certificate cannot be used
 */
export async function listen(options: ListenerOptions, handle: (transport: Transport) => void): Promise<Listener> {
  const sockets = new Set<Socket>();
  const http1 = http1Server(options, handle);
  const http2 = http2Server(options, handle);
  const counts: Partial<Record<LimitHit, number>> = {};
  const { clients } = options;
  const counted = (limit: LimitHit) => (counts[limit] = (counts[limit] ?? 0) + 1);

  const clientHits: Partial<Record<LimitHit, () => number>> = {
    connections: () => clients.counters.connections,
    address_connections: () => clients.counters.address_connections,
    shed_idle: () => clients.counters.shed_idle,
  };

  function onSocketClose(this: Socket) {
    sockets.delete(this);
  }
  /** @returns undefined when there is no room for the connection, which is closed then */
  const keep = (socket: Socket, address: string, isProxy: boolean): ClientConnection | undefined => {
    const client = clients.connected(socket, address, isProxy);
    if (client === undefined) socket.destroy();
    return client;
  };
  /** Takes a socket that has been accepted. `meet` is told whose it is, and what has been read of it. */
  const arrive = (socket: Socket, meet: (socket: Socket, client: ClientConnection, seen: Buffer) => void) => {
    socket.on('error', onSocketError);
    const peer = plainAddress(socket.remoteAddress ?? '');
    sockets.add(socket);
    socket.on('close', onSocketClose);
    if (!options.isAnnounced(peer)) {
      const client = keep(socket, peer, options.isProxy(peer));
      if (client !== undefined) meet(socket, client, NOTHING);
      return;
    }
    // Until it has said for whom, it is the proxy's.
    const proxy = keep(socket, peer, true);
    if (proxy === undefined) return;
    awaitProxyHeader(socket, options.limits.timeouts.headers, (header, rest) => {
      if (header === undefined) {
        counted('proxy_header');
        return void socket.destroy();
      }
      const address = header.address ?? peer;
      proxy.leave();
      const client = keep(socket, address, options.isProxy(address));
      if (client !== undefined) meet(socket, client, rest);
    });
  };
  const byPreface = (socket: Socket, client: ClientConnection, first: Buffer) => {
    const timer = setTimeout(() => {
      counted('first_byte_timeout');
      socket.destroy();
    }, options.limits.timeouts.headers);
    let seen: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const compared = Math.min(seen.length, PREFACE_START.length);
      const isHttp2 = seen.subarray(0, compared).equals(PREFACE_START.subarray(0, compared));
      if (isHttp2 && compared < PREFACE_START.length) return;
      // Nothing of this moment is kept for as long as the connection lives.
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('end', onEarlyEnd);
      socket.off('close', onClose);
      (isHttp2 ? http2 : http1).accept(socket, seen, client);
    };
    const onClose = () => clearTimeout(timer);
    socket.on('end', onEarlyEnd);
    socket.on('data', onData);
    socket.on('close', onClose);
    if (first.length > 0) onData(first);
    else socket.resume();
  };
  /** Clients whose handshakes are under way, by the other end of their sockets: Node makes another socket of each. */
  const shaking = new Map<string, ClientConnection>();
  const shake = (socket: Socket, client: ClientConnection, seen: Buffer) => {
    const key = otherEnd(socket);
    shaking.set(key, client);
    socket.on('close', () => shaking.delete(key));
    if (seen.length > 0) socket.unshift(seen);
    tls!.emit('connection', socket);
  };
  const byAlpn = (socket: TLSSocket) => {
    socket.on('error', onSocketError);
    socket.setNoDelay(true);
    const client = shaking.get(otherEnd(socket));
    if (client === undefined || !identify(socket, client)) return void socket.destroy();
    client.handshake = handshakeOf(socket);
    (socket.alpnProtocol === 'h2' ? http2 : http1).accept(socket, NOTHING, client);
  };

  // A client may close its side before it has its answer (RFC 9112 section 9.6).
  const tcp = createTcpServer({ noDelay: true, allowHalfOpen: true }, (socket) => arrive(socket, byPreface));
  let certificates = options.tls && Certificates.read(options.tls);
  const tls =
    options.tls &&
    createTlsServer(
      {
        ...certificates!.first,
        ...tlsOptions(options.limits.timeouts),
        SNICallback: (host, done) => done(null, certificates!.contextFor(host)),
        requestCert: options.tls.clientCa !== undefined,
        rejectUnauthorized: options.tls.clientsNeedCertificates,
      },
      byAlpn,
    );
  // The server of TLS is handed its sockets: one whose handshake never ends is known too, and what a proxy says comes before the handshake.
  const tcpOfTls = tls && createTcpServer({ allowHalfOpen: true }, (socket) => arrive(socket, shake));
  // Node tells of a handshake that is late or wrong, and leaves the connection to us.
  tls?.on('tlsClientError', (_error, socket) => {
    counted('client_error');
    socket.destroy();
  });
  await bind(tcp, options.host, options.port, 'GATEWAY_PORT');
  if (tcpOfTls) await bind(tcpOfTls, options.host, options.tls!.port, 'GATEWAY_TLS_PORT');

  return {
    port: (tcp.address() as AddressInfo).port,
    tlsPort: tcpOfTls && (tcpOfTls.address() as AddressInfo).port,
    connections: () => sockets.size,
    endings: http2.endings,
    certificatesExpireAt: () => certificates?.expiresAt,
    renewCertificates(files) {
      certificates = Certificates.read(files);
      tls!.setSecureContext(certificates.first);
      // Sessions that were begun with other certificates are not taken up again.
      tls!.setTicketKeys(randomBytes(TICKET_KEYS_OCTETS));
    },
    hits: (limit) => (counts[limit] ?? 0) + (clientHits[limit]?.() ?? 0) + http1.hits(limit) + http2.hits(limit),
    async close(graceMs) {
      tcp.close();
      tcpOfTls?.close();
      http1.drain();
      http2.drain();
      const began = performance.now();
      for (let passed = 0; sockets.size > 0 && passed < graceMs; passed = performance.now() - began) {
        if (passed > IDLE_NOTICE_MS) {
          http1.closeIdle();
          http2.closeIdle();
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      http1.stop();
      http2.stop();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function tlsOptions(timeouts: { readonly headers: number }): TlsOptions {
  return {
    allowHalfOpen: true,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: timeouts.headers,
  };
}

/** Notes whose certificate the client has shown, if any. @returns false when it has shown one that does not count */
function identify(socket: TLSSocket, client: ClientConnection): boolean {
  const certificate = socket.getPeerCertificate() as { raw?: Buffer } | null;
  if (certificate?.raw === undefined) return true;
  if (!socket.authorized) return false;
  client.certificateSubject = subjectOf(certificate.raw);
  return true;
}

function handshakeOf(socket: TLSSocket): Handshake {
  const { servername } = socket as TLSSocket & { readonly servername?: string | false };
  return {
    serverName: servername ? servername : undefined,
    certificateIsFor: (hostname) => socket.getX509Certificate()?.checkHost(hostname) !== undefined,
  };
}

function otherEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function onSocketError(this: Socket) {
  this.destroy();
}

/** The client has closed its side before it said anything. */
function onEarlyEnd(this: Socket) {
  this.destroy();
}

async function bind(server: ReturnType<typeof createTcpServer>, host: string, port: number, key: string) {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? `a free port; this one is taken${holderOf(port).holder}`
          : `a port to bind (${error.message})`;
      reject(new ConfigurationError([`${key}=${port}: expected ${why}`]));
    });
    server.listen({ port, host, backlog: 4096 }, resolve);
  });
}
