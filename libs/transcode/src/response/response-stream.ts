import { TranscodeError } from '../errors.js';
import { negotiate } from '../request/media-type.js';
import type { ResponseDecoder } from './response-decoder.js';

/** The response side of a server stream: frames messages in the form that the client accepts. */
export interface ResponseStream {
  /** `undefined` until the first message of a stream of `google.api.HttpBody`. */
  readonly contentType: string | undefined;
  /** The text of one message. */
  item(message: Uint8Array): Uint8Array;
  /** What ends a complete answer. */
  end(): Uint8Array;
  /**
   * What ends an answer that failed after it began.
   * @param problem a JSON object on one line
   * @returns `undefined` when the form cannot show it: then the connection or stream is to be reset
   */
  error(problem: string): Uint8Array | undefined;
}

/** The forms that a stream of JSON messages can take; the first is the default. */
const forms = ['application/x-ndjson', 'text/event-stream', 'application/json'] as const;

const empty = Buffer.alloc(0);
const lineFeed = Buffer.from('\n');
const data = Buffer.from('data: ');
const blankLine = Buffer.from('\n\n');
const comma = Buffer.from(',\n');
const openBracket = Buffer.from('[');

/**
 * Frames the messages of a response stream.
 * @param errorName name of the member that carries an error where messages have members of their own
 * @throws TranscodeError `NOT_ACCEPTABLE`
 */
export function responseStream(
  decoder: ResponseDecoder,
  accept: string | undefined,
  errorName: string,
): ResponseStream {
  if (decoder.isRaw) return rawStream(decoder);
  switch (negotiate(accept, [...forms, 'application/jsonl'])) {
    case 'application/x-ndjson':
      return ndjson(decoder, errorName, 'application/x-ndjson');
    case 'application/jsonl':
      return ndjson(decoder, errorName, 'application/jsonl');
    case 'text/event-stream':
      return eventStream(decoder);
    case 'application/json':
      return jsonArray(decoder, errorName);
    default:
      throw new TranscodeError('NOT_ACCEPTABLE', `a stream is available as ${forms.join(', ')}`);
  }
}

/** One message a line. After an error the last line is an object with the error alone. */
function ndjson(decoder: ResponseDecoder, errorName: string, contentType: string): ResponseStream {
  return {
    contentType,
    item: (message) => Buffer.concat([decoder.json(message), lineFeed]),
    end: () => empty,
    error: (problem) => Buffer.from(`{"${errorName}":${problem}}\n`),
  };
}

/**
 * Server-sent events of the HTML standard, section 9.2: a message an event without a name, then `end` or `error`. They
 * tell a client that must not connect again from one that lost its connection.
 */
function eventStream(decoder: ResponseDecoder): ResponseStream {
  return {
    contentType: 'text/event-stream',
    item: (message) => Buffer.concat([data, decoder.json(message), blankLine]),
    end: () => Buffer.from('event: end\ndata: {}\n\n'),
    error: (problem) => Buffer.from(`event: error\ndata: ${problem}\n\n`),
  };
}

/** One array. After an error its last item is an object with the error, and the array stays open: it does not parse. */
function jsonArray(decoder: ResponseDecoder, errorName: string): ResponseStream {
  let isFirst = true;
  const before = (): Buffer => {
    const separator = isFirst ? openBracket : comma;
    isFirst = false;
    return separator;
  };
  return {
    contentType: 'application/json',
    item: (message) => {
      const json = decoder.json(message);
      return Buffer.concat([before(), json]);
    },
    end: () => Buffer.from(isFirst ? '[]' : ']'),
    error: (problem) => Buffer.concat([before(), Buffer.from(`{"${errorName}":${problem}}`)]),
  };
}

/** The bytes of `google.api.HttpBody` messages, one after another, with the content type of the first. */
function rawStream(decoder: ResponseDecoder): ResponseStream {
  let contentType: string | undefined;
  return {
    get contentType() {
      return contentType;
    },
    item: (message) => {
      const raw = decoder.raw(message);
      contentType ??= raw.contentType;
      return raw.data;
    },
    end: () => empty,
    error: () => undefined,
  };
}
