import { TranscodeError } from '../errors.js';

/** The request side of a client stream: what the client sends becomes messages as its pieces complete. */
export interface RequestStream {
  /** @throws TranscodeError; the stream is unusable after it */
  push(chunk: Uint8Array): Uint8Array[];
  end(): Uint8Array[];
}

const newline = 0x0a;
const nothing = new Uint8Array(0);

/**
 * Cuts NDJSON into its lines and encodes each. Empty lines are passed over; the last line needs no line feed.
 * @param encode makes a message of one line
 */
export function ndjsonStream(encode: (line: Uint8Array) => Uint8Array, itemBytesMax: number): RequestStream {
  /** The beginning of a line whose end has not come: `held[0, heldBytes)`, one buffer however many pieces it came in. */
  let held = nothing;
  let heldBytes = 0;
  let line = 1;
  let lineStart = 0;

  const requireRoom = (more: number): void => {
    if (heldBytes + more <= itemBytesMax) return;
    throw new TranscodeError('ITEM_TOO_LARGE', `line ${line} is longer than ${itemBytesMax} bytes`);
  };
  const hold = (piece: Uint8Array): void => {
    requireRoom(piece.length);
    const bytes = heldBytes + piece.length;
    if (bytes > held.length) {
      const larger = new Uint8Array(Math.max(bytes, held.length * 2));
      larger.set(held.subarray(0, heldBytes));
      held = larger;
    }
    held.set(piece, heldBytes);
    heldBytes = bytes;
  };
  /** A line of what is held and the piece that ends it. */
  const lineOf = (piece: Uint8Array): Uint8Array => {
    if (heldBytes === 0) {
      requireRoom(piece.length);
      return piece;
    }
    hold(piece);
    const text = held.subarray(0, heldBytes);
    held = nothing;
    heldBytes = 0;
    return text;
  };
  const take = (text: Uint8Array, messages: Uint8Array[]): void => {
    if (!isBlank(text)) messages.push(encodeAt(text));
    line++;
    lineStart += text.length + 1;
  };
  const encodeAt = (text: Uint8Array): Uint8Array => {
    try {
      return encode(text);
    } catch (error) {
      if (!(error instanceof TranscodeError) || !error.position) throw error;
      const { offset, column } = error.position;
      throw new TranscodeError(error.code, error.message, error.field, { offset: lineStart + offset, line, column });
    }
  };

  return {
    push(chunk) {
      const messages: Uint8Array[] = [];
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        take(lineOf(chunk.subarray(start, end)), messages);
        start = end + 1;
      }
      // The caller may use the chunk's memory again: what is held is a copy.
      if (start < chunk.length) hold(chunk.subarray(start));
      return messages;
    },
    end() {
      const messages: Uint8Array[] = [];
      if (heldBytes > 0) take(lineOf(nothing), messages);
      return messages;
    },
  };
}

function isBlank(text: Uint8Array): boolean {
  return text.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09);
}
