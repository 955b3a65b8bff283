import { TranscodeError } from '../errors.js';
import { negotiate } from '../request/media-type.js';
import type { ResponseDecoder } from './response-decoder.js';

/** The response side of a server stream: frames messages in the form that the client accepts. */
export interface ResponseStream {
  /** `undefined` until the first message of a stream of `google.api.HttpBody`. */
  readonly contentType: string | undefined;
  /** What can be sent now without meaning anything; `undefined` where nothing can. */
  readonly silence: Uint8Array | undefined;
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

/** What each message of a stream stands in: nothing, or `{"result": …}` as clients of grpc-gateway expect it. */
export type Envelope = 'none' | 'result';

/** The forms that a stream of JSON messages can take; the first is the default. */
const forms = ['application/x-ndjson', 'text/event-stream', 'application/json', 'application/jsonl'] as const;
/** With envelopes a line is the default, and not an item of an array. */
const envelopedForms = ['application/json', 'application/x-ndjson', 'text/event-stream', 'application/jsonl'] as const;

const empty = Buffer.alloc(0);
const lineFeed = Buffer.from('\n');
const data = Buffer.from('data: ');
const blankLine = Buffer.from('\n\n');
const comma = Buffer.from(',\n');
const openBracket = Buffer.from('[');
const openResult = Buffer.from('{"result":');
const closeBrace = Buffer.from('}');
/** A comment, which clients leave out. */
const ping = Buffer.from(': ping\n\n');

/** The text of a message or of an error, without what separates it from the next. */
interface Texts {
  message(message: Uint8Array): Buffer;
  error(problem: string): string;
}

export interface ResponseStreamOptions {
  /** The name of the member that carries an error where messages have members of their own. */
  readonly errorName: string;
  readonly envelope: Envelope;
}

/**
 * Frames the messages of a response stream.
 * @throws TranscodeError `NOT_ACCEPTABLE`
 */
export function responseStream(
  decoder: ResponseDecoder,
  accept: string | undefined,
  { errorName, envelope }: ResponseStreamOptions,
): ResponseStream {
  if (decoder.isRaw) return rawStream(decoder);
  const enveloped = envelope === 'result';
  const texts: Texts = enveloped
    ? {
        message: (message) => Buffer.concat([openResult, decoder.json(message), closeBrace]),
        error: (problem) => `{"error":${problem}}`,
      }
    : { message: (message) => decoder.json(message), error: (problem) => `{"${errorName}":${problem}}` };
  const form = negotiate(accept, enveloped ? envelopedForms : forms);
  switch (form) {
    case 'application/x-ndjson':
    case 'application/jsonl':
      return jsonLines(texts, form);
    case 'text/event-stream':
      return eventStream(enveloped ? texts : { ...texts, error: (problem) => problem });
    case 'application/json':
      return enveloped ? jsonLines(texts, form) : jsonArray(texts);
    default:
      throw new TranscodeError('NOT_ACCEPTABLE', `a stream is available as ${forms.slice(0, 3).join(', ')}`);
  }
}

/** One message a line. After an error the last line is an object with the error alone. */
function jsonLines(texts: Texts, contentType: string): ResponseStream {
  return {
    contentType,
    silence: lineFeed,
    item: (message) => Buffer.concat([texts.message(message), lineFeed]),
    end: () => empty,
    error: (problem) => Buffer.from(`${texts.error(problem)}\n`),
  };
}

/**
 * Server-sent events of the HTML standard, section 9.2: a message an event without a name, then `end` or `error`. They
 * tell a client that must not connect again from one that lost its connection.
 */
function eventStream(texts: Texts): ResponseStream {
  return {
    contentType: 'text/event-stream',
    silence: ping,
    item: (message) => Buffer.concat([data, texts.message(message), blankLine]),
    end: () => Buffer.from('event: end\ndata: {}\n\n'),
    error: (problem) => Buffer.from(`event: error\ndata: ${texts.error(problem)}\n\n`),
  };
}

/** One array. After an error its last item is an object with the error, and the array stays open: it does not parse. */
function jsonArray(texts: Texts): ResponseStream {
  let isFirst = true;
  const before = (): Buffer => {
    const separator = isFirst ? openBracket : comma;
    isFirst = false;
    return separator;
  };
  return {
    contentType: 'application/json',
    silence: lineFeed,
    item: (message) => {
      const json = texts.message(message);
      return Buffer.concat([before(), json]);
    },
    end: () => Buffer.from(isFirst ? '[]' : ']'),
    error: (problem) => Buffer.concat([before(), Buffer.from(texts.error(problem))]),
  };
}

/**
 * The bytes of `google.api.HttpBody` messages, one after another, with the content type of the first. Server-sent events take a comment
 * where one of them has ended.
 */
function rawStream(decoder: ResponseDecoder): ResponseStream {
  let contentType: string | undefined;
  let areEvents = false;
  let last = empty;
  return {
    get contentType() {
      return contentType;
    },
    get silence() {
      return areEvents && (last.length === 0 || endsEvent(last)) ? ping : undefined;
    },
    item: (message) => {
      const { contentType: type, data: bytes } = decoder.raw(message);
      if (contentType === undefined) {
        contentType = type;
        areEvents = /^text\/event-stream *(;|$)/i.test(type);
      }
      if (areEvents)
        last = Buffer.concat([last, bytes.subarray(-BLANK_LINE_OCTETS_MAX)]).subarray(-BLANK_LINE_OCTETS_MAX);
      return bytes;
    },
    end: () => empty,
    error: () => undefined,
  };
}

const BLANK_LINE_OCTETS_MAX = 4;

/** Whether an empty line was the last (HTML standard, section 9.2.5). */
function endsEvent(bytes: Buffer): boolean {
  return /(\n\n|\r\r|\r\n\r\n)$/.test(bytes.toString('latin1'));
}
