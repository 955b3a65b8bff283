/**
 * Stream states (RFC 9113 §5.1). The reserved states belong to server push, which neither of our roles uses: a client
 * forbids it (SETTINGS_ENABLE_PUSH = 0), a server never starts it.
 *
 *   idle ── HEADERS ──▶ open ── END_STREAM sent ──────▶ half-closed (local) ── END_STREAM received ─▶ closed
 *                         └──── END_STREAM received ──▶ half-closed (remote) ─ END_STREAM sent ─────▶ closed
 *   RST_STREAM, sent or received, closes from any state but idle.
 */
export const StreamState = {
  OPEN: 0,
  /** We have sent END_STREAM and still receive. */
  HALF_CLOSED_LOCAL: 1,
  /** The peer has sent END_STREAM and we still send. */
  HALF_CLOSED_REMOTE: 2,
  CLOSED: 3,
} as const;

/** Whether we may still send DATA and HEADERS. */
export function maySend(state: number): boolean {
  return (state & StreamState.HALF_CLOSED_LOCAL) === 0;
}

/** Whether the peer may still send DATA and HEADERS. */
export function mayReceive(state: number): boolean {
  return (state & StreamState.HALF_CLOSED_REMOTE) === 0;
}

export function afterEndSent(state: number): number {
  return state | StreamState.HALF_CLOSED_LOCAL;
}

export function afterEndReceived(state: number): number {
  return state | StreamState.HALF_CLOSED_REMOTE;
}
