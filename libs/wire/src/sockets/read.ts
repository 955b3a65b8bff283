import { Socket } from 'node:net';
import { takeAtEnd, takeNow, type OctetsTaker } from './turn.js';

const READ_OCTETS = 65_536;

/**
 * Every read of every socket goes here. Node would allocate as much for each read, which is most of what a busy process allocates
 * outside the heap; and a stream would stand between the socket and us.
 */
const shared = Buffer.allocUnsafeSlow(READ_OCTETS);

/** Beginnings of the shared buffer by their length: who takes one has it only until he returns. */
const beginnings: Buffer[] = [];
const BEGINNING_OCTETS_MAX = 2048;

function beginning(octets: number): Buffer {
  if (octets > BEGINNING_OCTETS_MAX) return shared.subarray(0, octets);
  return (beginnings[octets] ??= shared.subarray(0, octets));
}

/** The option `onread` for a socket that is to be connected. */
export function reading(take: OctetsTaker): { buffer: Buffer; callback: (octets: number) => boolean } {
  return {
    buffer: shared,
    callback(octets) {
      take(beginning(octets));
      return true;
    },
  };
}

/**
 * Hands over what the socket reads from now on, at the end of the event loop's turn if it is not much. The socket's events are as with a stream that is read: `end`, `error`, `close`;
 * so are `pause()` and `resume()`.
 */
export function readFrom(socket: Socket, take: OctetsTaker): void {
  const { _handle: handle } = socket as InnerSocket;
  const atEnd = (octets: Buffer) => takeAtEnd(octets, take);
  // Nothing comes after the end.
  socket.on('end', takeNow);
  // TLS is read as a stream: what it deciphers is cut to size already.
  if ('encrypted' in socket || BUFFER === undefined || CALLBACK === undefined || !handle?.useUserBuffer) {
    socket.on('data', atEnd);
    return;
  }
  const { buffer, callback } = reading(atEnd);
  const inner = socket as InnerSocket;
  inner[BUFFER] = buffer;
  inner[CALLBACK] = callback;
  handle.useUserBuffer(buffer);
  socket.resume();
}

/** `net.Server` does not know the option `onread`, so that an accepted socket is given it as `net.Socket` gives it to itself. */
interface InnerSocket extends Socket {
  _handle?: { useUserBuffer?(buffer: Buffer): void } | null;
  [inner: symbol]: unknown;
}

const symbols = Object.getOwnPropertySymbols(new Socket());
const BUFFER = symbols.find(({ description }) => description === 'kBuffer');
const CALLBACK = symbols.find(({ description }) => description === 'kBufferCb');
