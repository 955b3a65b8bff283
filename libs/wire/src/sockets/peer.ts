import { unbounded, type MemoryAccount } from '../memory/account.js';

/** What was settled when a connection of TLS began. */
export interface Handshake {
  /** The host that the client named (SNI, RFC 6066 section 3); undefined when it named none. */
  readonly serverName: string | undefined;
  /** Whether the certificate that the client was shown is for the host as well. */
  certificateIsFor(hostname: string): boolean;
}

/** What a listener knows of the other end of a connection. */
export interface ConnectionPeer {
  readonly address: string;
  /** Counts what is held for the connection. */
  readonly account: MemoryAccount;
  /** The peer is a proxy: one client's body that is not read yet must not hold up those of others. */
  readonly shared: boolean;
  /** The subject of the certificate that the client has proven to be its own (RFC 4514). */
  readonly certificateSubject?: string | undefined;
  /** Undefined: the connection is not of TLS. */
  readonly handshake?: Handshake | undefined;
}

export function peerOf(socket: { readonly remoteAddress?: string | undefined }): ConnectionPeer {
  return { address: socket.remoteAddress ?? '', account: unbounded, shared: false };
}
