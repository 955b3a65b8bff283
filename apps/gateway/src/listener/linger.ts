import type { Socket } from 'node:net';

/** How long a client may go on sending after the last answer on a connection, in milliseconds. */
const LINGER_MS = 2000;

const lingering = new WeakSet<Socket>();

/**
 * Ends a connection whose client may still be sending: closes our side, and reads what comes for a while. Closing at once
 * would make the kernel send a reset, which can destroy the answer before the client has read it (RFC 9112 section 9.6).
 */
export function lingeringClose(socket: Socket): void {
  if (socket.destroyed || lingering.has(socket)) return;
  lingering.add(socket);
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** The connection has had its last answer; what its client still sends is thrown away. */
export function isLingering(socket: Socket): boolean {
  return lingering.has(socket);
}
