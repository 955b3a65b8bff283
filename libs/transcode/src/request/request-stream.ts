import { TranscodeError } from '../errors.js';
import { ValueSplitter } from './value-splitter.js';

/** The request side of a client stream: what the client sends becomes messages as its pieces complete. */
export interface RequestStream {
  /** @throws TranscodeError; the stream is unusable after it */
  push(chunk: Uint8Array): Uint8Array[];
  end(): Uint8Array[];
  /** Octets of memory that the beginning of a message takes up whose end has not come. */
  readonly held: number;
}

/**
 * Encodes each JSON value of a body: one a line (NDJSON), one after another, printed over several lines, or the items of one array.
 * @param encode makes a message of one value
 * @param whenEmpty makes the message that is sent when there is no value: what path and query set is not lost
 * @param arrays whether a body that begins with a bracket is an array of values; otherwise arrays are values
 */
export function valueStream(
  encode: (value: Uint8Array) => Uint8Array,
  whenEmpty: (() => Uint8Array) | undefined,
  itemBytesMax: number,
  arrays: boolean,
): RequestStream {
  let messages: Uint8Array[] = [];
  let isEmpty = true;
  const splitter = new ValueSplitter(itemBytesMax, arrays, (value, start) => {
    isEmpty = false;
    try {
      messages.push(encode(value));
    } catch (error) {
      if (!(error instanceof TranscodeError) || !error.position) throw error;
      const { offset, line, column } = error.position;
      throw new TranscodeError(error.code, error.message, error.field, {
        offset: start.offset + offset,
        line: start.line + line - 1,
        column: line === 1 ? start.column + column - 1 : column,
      });
    }
  });
  const taken = (): Uint8Array[] => {
    const all = messages;
    messages = [];
    return all;
  };
  return {
    get held() {
      return splitter.octetsHeld;
    },
    push(chunk) {
      splitter.push(chunk);
      return taken();
    },
    end() {
      splitter.end();
      return isEmpty && whenEmpty ? [whenEmpty()] : taken();
    },
  };
}
