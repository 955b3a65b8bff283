import type { Caller, RevocationList } from '@sluice/identity';
import type { OpenStream } from './open-stream.js';

/** What the streams of an API key are found by, in place of a session. */
export const streamsOfKey = (keyId: string): string => `key:${keyId}`;

/** What the streams of a caller are found by; empty: nothing but its token ends them. */
export function streamsOf({ session, key }: Caller): string {
  return key === undefined ? session : streamsOfKey(key.id);
}

/** Open streams by the session of their callers. Outlives a reload of the configuration. */
export class SessionStreams {
  private readonly bySession = new Map<string, Set<OpenStream>>();

  /** @param list the ended sessions by the configuration in force, which alone goes on being told */
  constructor(private readonly list: () => RevocationList | undefined) {}

  /** Whether a stream that would be added now would never be told. */
  hasEnded(session: string): boolean {
    return this.list()?.isRevoked(session, Date.now()) ?? false;
  }

  add(session: string, stream: OpenStream): void {
    if (session === '') return;
    const streams = this.bySession.get(session);
    if (streams) streams.add(stream);
    else this.bySession.set(session, new Set([stream]));
  }

  delete(session: string, stream: OpenStream): void {
    const streams = this.bySession.get(session);
    if (streams?.delete(stream) && streams.size === 0) this.bySession.delete(session);
  }

  ended(session: string): void {
    for (const stream of [...(this.bySession.get(session) ?? [])]) stream.sessionEnded();
  }

  /** A caller has shown a valid token. */
  shown({ session, expiresAtMs }: Caller): void {
    if (this.bySession.size === 0) return;
    for (const stream of this.bySession.get(session) ?? []) stream.sessionShown(expiresAtMs);
  }
}
