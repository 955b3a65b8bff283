import { TranscodeError } from '../errors.js';

/** The request side of a client stream: what the client sends becomes messages as its pieces complete. */
export interface RequestStream {
  /** @throws TranscodeError; the stream is unusable after it */
  push(chunk: Uint8Array): Uint8Array[];
  end(): Uint8Array[];
}

const newline = 0x0a;

/**
 * Cuts NDJSON into its lines and encodes each. Empty lines are passed over; the last line needs no line feed.
 * @param encode makes a message of one line
 */
export function ndjsonStream(encode: (line: Uint8Array) => Uint8Array, itemBytesMax: number): RequestStream {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let line = 1;
  let lineStart = 0;

  const take = (piece: Uint8Array): void => {
    heldBytes += piece.length;
    if (heldBytes > itemBytesMax) {
      throw new TranscodeError('ITEM_TOO_LARGE', `line ${line} is longer than ${itemBytesMax} bytes`);
    }
    if (piece.length > 0) held.push(piece);
  };
  const finishLine = (messages: Uint8Array[]): void => {
    const text = held.length === 1 ? held[0]! : Buffer.concat(held);
    held = [];
    heldBytes = 0;
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
        take(chunk.subarray(start, end));
        finishLine(messages);
        start = end + 1;
      }
      // The caller may use the chunk's memory again, so what is kept is copied.
      if (start < chunk.length) take(Uint8Array.from(chunk.subarray(start)));
      return messages;
    },
    end() {
      const messages: Uint8Array[] = [];
      if (heldBytes > 0) finishLine(messages);
      return messages;
    },
  };
}

function isBlank(text: Uint8Array): boolean {
  return text.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09);
}
