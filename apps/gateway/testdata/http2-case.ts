import { END_HEADERS, END_STREAM, frame, Type } from './raw-http2.js';

/**
 * Something that independent suites try on a server of HTTP/2, and the verdict that they accept: on a connection of its own on
 * which the SETTINGS of both sides have been exchanged and acknowledged.
 */
export interface Http2Case {
  readonly name: string;
  /** Bytes, and what must have arrived before the next of them leave. */
  readonly steps: readonly (Buffer | Awaited)[];
  readonly verdict: Verdict;
  /** What the client begins with, in place of its preface, its SETTINGS and their acknowledgement. */
  readonly begins?: Buffer;
}

/** The answer of stream 1 is complete; the SETTINGS sent last have been acknowledged; octets of it have come. */
export type Awaited = 'answer' | 'settings' | 'data';

export type Verdict =
  /** Stream 1 is answered. */
  | { readonly kind: 'answered' }
  /** The first octets of an answer are so many. */
  | { readonly kind: 'data'; readonly octets: number }
  /** The last PING is answered with its octets, and no other was answered. */
  | { readonly kind: 'pong' }
  | { readonly kind: 'settings' }
  /** The first frame is SETTINGS. */
  | { readonly kind: 'opened' }
  | { readonly kind: 'closed' }
  /** RST_STREAM, or GOAWAY and the end of the connection, with one of the codes. */
  | { readonly kind: 'stream error'; readonly codes: readonly number[] }
  /** GOAWAY with one of the codes, and the end of the connection. */
  | { readonly kind: 'connection error'; readonly codes: readonly number[] };

export interface Http2Section {
  readonly section: string;
  readonly cases: readonly Http2Case[];
}

/** Error codes of RFC 9113 section 7. */
export const PROTOCOL = 1;
export const FLOW_CONTROL = 3;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE = 6;
export const REFUSED = 7;
export const CANCEL = 8;
export const COMPRESSION = 9;

export const PADDED = 8;
export const WITH_PRIORITY = 0x20;
export const ACK = 1;

export const octets = (...values: number[]) => Buffer.from(values);
export const uint32 = (value: number) => octets(value >>> 24, value >>> 16, value >>> 8, value);
export const setting = (id: number, value: number) => Buffer.concat([octets(id >>> 8, id), uint32(value)]);
export const settings = (...pairs: [number, number][]) =>
  frame(Type.SETTINGS, 0, 0, Buffer.concat(pairs.map(([id, value]) => setting(id, value))));
/** SETTINGS_INITIAL_WINDOW_SIZE. */
export const WINDOW = 4;
export const ping = (text: string, flags = 0) => frame(Type.PING, flags, 0, Buffer.from(text.padEnd(8)));
export const windowUpdate = (id: number, increment: number) => frame(Type.WINDOW_UPDATE, 0, id, uint32(increment));
export const reset = (id: number, code: number) => frame(Type.RST_STREAM, 0, id, uint32(code));
export const goaway = (id: number, code: number) =>
  frame(Type.GOAWAY, 0, id, Buffer.concat([uint32(0), uint32(code), Buffer.from('why')]));
export const priority = (id: number, dependsOn: number, weight = 255) =>
  frame(Type.PRIORITY, 0, id, Buffer.concat([uint32(dependsOn), octets(weight)]));
/** Of a type that nobody has defined. */
export const unknown = () => frame(0x16, 0, 0, Buffer.alloc(8));
export const data = (id: number, text = 'test', flags: number = END_STREAM) =>
  frame(Type.DATA, flags, id, Buffer.from(text));
export const headers = (id: number, block: Buffer, flags: number) => frame(Type.HEADERS, flags, id, block);
export const continuation = (id: number, block: Buffer, flags: number = END_HEADERS) =>
  frame(Type.CONTINUATION, flags, id, block);
/** HEADERS that are the whole request. */
export const WHOLE = END_HEADERS | END_STREAM;

export type Fields = readonly (readonly [string, string])[];

/** Each field a literal that enters the dynamic table, as clients write them that have not met it before (RFC 7541 section 6.2.1). */
export function block(fields: Fields): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1');
    const rest = bytes.length - 127;
    const length = rest < 0 ? octets(bytes.length) : octets(127, (rest & 127) | 128, rest >>> 7);
    return [length, bytes];
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [octets(0x40), ...text(name), ...text(value)]));
}

export const connectionError = (...codes: number[]): Verdict => ({ kind: 'connection error', codes });
export const streamError = (...codes: number[]): Verdict => ({ kind: 'stream error', codes });
export const ANSWERED: Verdict = { kind: 'answered' };
export const PONG: Verdict = { kind: 'pong' };
/** A case on a connection that begins as it should. */
export const of = (name: string, steps: (Buffer | Awaited)[], verdict: Verdict): Http2Case => ({
  name,
  steps,
  verdict,
});

/** Requests for one path. */
export class Requests {
  readonly GET: Fields;
  readonly POST: Fields;

  constructor(
    readonly path: string,
    readonly scheme: 'http' | 'https',
  ) {
    this.GET = this.of('GET');
    this.POST = this.of('POST');
  }

  of(method: string): Fields {
    return [
      [':method', method],
      [':scheme', this.scheme],
      [':path', this.path],
      [':authority', 'localhost:8083'],
    ];
  }

  readonly get = (id = 1, flags = WHOLE) => headers(id, block(this.GET), flags);
  readonly post = (more: Fields = []) => headers(1, block([...this.POST, ...more]), END_HEADERS);
}
