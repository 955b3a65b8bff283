import type { Socket } from 'node:net';
import type { Field } from '@sluice/wire';
import type { GatewayConfig } from '../config/schema.js';
import type { TlsFiles } from './certificates.js';
import type { ClientConnection, Clients } from './clients.js';

/** The limits that a client can hit; values of the label of a counter. */
export const limitHits = [
  'connections',
  'address_connections',
  'shed_idle',
  'first_byte_timeout',
  'proxy_header',
  'headers_timeout',
  'request_timeout',
  'settings_timeout',
  'idle',
  'slow_reader',
  'headers_too_large',
  'client_error',
  'flood',
] as const;
export type LimitHit = (typeof limitHits)[number];

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: (TlsFiles & { readonly port: number; readonly clientsNeedCertificates: boolean }) | undefined;
  /** `Strict-Transport-Security`, for what is answered before there is an exchange. */
  readonly hsts: () => Field | undefined;
  readonly clients: Clients;
  /** Whether an address is one of the proxies that stand for many clients. */
  readonly isProxy: (address: string) => boolean;
  /** Whether connections of an address begin with a header of the PROXY protocol. */
  readonly isAnnounced: (address: string) => boolean;
  /** Told how late SETTINGS of a client of HTTP/2 were acknowledged, in milliseconds. */
  readonly onSettingsAck?: (ms: number) => void;
  readonly limits: Pick<GatewayConfig, 'timeouts' | 'sizes' | 'http2'>;
}

/** One protocol's side of the listener: it is handed sockets that are known to speak it. */
export interface ProtocolServer {
  /** @param seen bytes that were read already, the first of the connection */
  accept(socket: Socket, seen: Buffer, client: ClientConnection): void;
  /** Tells clients to take their next request elsewhere; requests in flight go on. */
  drain(): void;
  /** Closes connections on which nothing happens. */
  closeIdle(): void;
  /** Closes everything. */
  stop(): void;
  /** How often a limit was hit so far. */
  hits(limit: LimitHit): number;
}
