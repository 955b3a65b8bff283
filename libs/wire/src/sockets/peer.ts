import { unbounded, type MemoryAccount } from '../memory/account.js';

/** What a listener knows of the other end of a connection. */
export interface ConnectionPeer {
  readonly address: string;
  /** Counts what is held for the connection. */
  readonly account: MemoryAccount;
  /** The peer is a proxy: one client's body that is not read yet must not hold up those of others. */
  readonly shared: boolean;
  /** The subject of the certificate that the client has proven to be its own (RFC 4514). */
  readonly certificateSubject?: string | undefined;
}

export function peerOf(socket: { readonly remoteAddress?: string | undefined }): ConnectionPeer {
  return { address: socket.remoteAddress ?? '', account: unbounded, shared: false };
}
