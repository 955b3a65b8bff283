/**
 * The body of a request, by its length or in chunks (RFC 9112 section 7.1):
 *
 *     chunked-body   = *( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) 1*("0") [ chunk-ext ] CRLF *( field-line CRLF ) CRLF
 */
import { Http1Fault, malformed } from './fault.js';
import { CR, LF, VALUE } from './octets.js';
import { parseFields } from './request-head.js';

/** What comes next: octets of the body, or one of the lines around them. */
const Expecting = { DATA: 0, SIZE: 1, DATA_END: 2, TRAILER: 3, NOTHING: 4 } as const;

/** The line of a chunk's size with its extension, or of a trailer. */
const LINE_OCTETS_MAX = 4096;
/** Extensions and trailers of one body, which say nothing to us. */
const IDLE_OCTETS_MAX = 16_384;
/** A size line without an extension. */
const PLAIN_LINE_OCTETS = 20;
/** Digits of a size that is read without making text. */
const PLAIN_DIGITS_MAX = 6;
/** Hexadecimal digits of a size that stays exact. */
const SIZE_DIGITS_MAX = 13;

export class BodyDecoder {
  /** Octets of the body among those taken last. */
  data: Buffer | undefined;
  private expecting: number;
  private left: number;
  private readonly chunked: boolean;
  /** A line that is not whole yet, and the trailers before it. */
  private line = '';
  private trailers = '';
  private idle = 0;

  /** @param length octets, or -1 for chunks */
  constructor(length: number) {
    this.chunked = length < 0;
    this.left = Math.max(0, length);
    this.expecting = this.chunked ? Expecting.SIZE : length === 0 ? Expecting.NOTHING : Expecting.DATA;
  }

  /** Octets that are still to come; Infinity when only their end will tell. */
  get rest(): number {
    return this.chunked ? Infinity : this.left;
  }

  /** The body is complete. */
  get done(): boolean {
    return this.expecting === Expecting.NOTHING;
  }

  /**
   * Takes the next octets, up to the end of the body or of the first piece of it, which is then in `data`.
   *
   * @returns the offset after what was taken
   * @throws Http1Fault
   */
  take(bytes: Buffer, from: number): number {
    this.data = undefined;
    let at = from;
    while (at < bytes.length && this.expecting !== Expecting.NOTHING) {
      if (this.expecting === Expecting.DATA) {
        const to = Math.min(bytes.length, at + this.left);
        this.left -= to - at;
        if (this.left === 0) this.expecting = this.chunked ? Expecting.DATA_END : Expecting.NOTHING;
        this.data = at === 0 && to === bytes.length ? bytes : bytes.subarray(at, to);
        return to;
      }
      at = this.takeLine(bytes, at);
    }
    return at;
  }

  /** Takes octets of a line; a whole one says what comes next. */
  private takeLine(bytes: Buffer, from: number): number {
    if (this.line === '' && this.expecting !== Expecting.TRAILER) {
      const to = this.takePlain(bytes, from);
      if (to !== -1) return to;
    }
    const lf = bytes.indexOf(LF, from);
    const to = lf === -1 ? bytes.length : lf + 1;
    if (this.line.length + to - from > LINE_OCTETS_MAX) throw new Http1Fault(413, LINES_TOO_LARGE);
    this.line += bytes.toString('latin1', from, to);
    if (lf !== -1) {
      const { line } = this;
      this.line = '';
      this.onLine(line);
    } else if (this.expecting === Expecting.DATA_END && !LINE_END.startsWith(this.line)) throw malformed(CHUNK_LENGTH);
    return to;
  }

  /**
   * Most lines are a short size alone, or the line end after a chunk, and have come whole: they are read without making text.
   * @returns the offset after the line; -1: it is another
   */
  private takePlain(bytes: Buffer, from: number): number {
    let at = from;
    let size = 0;
    if (this.expecting === Expecting.SIZE) {
      const most = from + PLAIN_DIGITS_MAX;
      for (let digit = hexDigit(bytes[at]); digit >= 0 && at < most; digit = hexDigit(bytes[at])) {
        size = size * 16 + digit;
        at++;
      }
      if (size === 0) return -1;
    }
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return -1;
    this.left = size;
    this.expecting = size > 0 ? Expecting.DATA : Expecting.SIZE;
    return at + 2;
  }

  private onLine(line: string): void {
    if (line.charCodeAt(line.length - 2) !== CR) throw malformed('A line of the body ends with LF alone.');
    if (line.length > PLAIN_LINE_OCTETS || this.expecting === Expecting.TRAILER) this.idle += line.length;
    if (this.idle > IDLE_OCTETS_MAX) throw new Http1Fault(413, LINES_TOO_LARGE);
    switch (this.expecting) {
      case Expecting.SIZE:
        this.left = sizeOf(line);
        this.expecting = this.left === 0 ? Expecting.TRAILER : Expecting.DATA;
        return;
      case Expecting.DATA_END:
        if (line !== LINE_END) throw malformed(CHUNK_LENGTH);
        this.expecting = Expecting.SIZE;
        return;
      case Expecting.TRAILER:
        if (line !== LINE_END) {
          this.trailers += line;
          return;
        }
        // Trailers say nothing to us, but must be what they should be.
        if (this.trailers !== '') parseFields(this.trailers);
        this.expecting = Expecting.NOTHING;
    }
  }
}

/**
 * `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, a value being a token or a quoted string (section 7.1.1).
 * White space is not taken at the end of the line.
 */
const EXTENSIONS = /^(?:[ \t]*;[ \t]*[\w!#$%&'*+.^`|~-]+(?:[ \t]*=[ \t]*(?:[\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))?)*$/;

/** A chunk's size from its line; extensions are passed over, when they are some. */
function sizeOf(line: string): number {
  const end = line.length - LINE_END.length;
  for (let at = 0; at < end; at++) {
    if (VALUE[line.charCodeAt(at)] !== 1) throw malformed('The line of a chunk has a character that cannot be in it.');
  }
  const [size = '', zeros = ''] = /^(0*)[0-9A-Fa-f]*/.exec(line) ?? [];
  const after = line.slice(size.length, end);
  if (size === '' || !/^(?:[ \t]*;.*)?$/.test(after))
    throw malformed('The size of a chunk is not a hexadecimal number.');
  if (!EXTENSIONS.test(after)) throw malformed('The extension of a chunk is not a name with an optional value.');
  const digits = size.slice(zeros.length);
  if (digits.length > SIZE_DIGITS_MAX) throw new Http1Fault(413, 'A chunk is larger than any that could be taken.');
  return digits === '' ? 0 : Number.parseInt(digits, 16);
}

/** The value of a hexadecimal digit; -1 for any other octet, and for none. */
function hexDigit(octet: number | undefined): number {
  if (octet === undefined) return -1;
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const letter = octet | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

const LINE_END = '\r\n';
const LINES_TOO_LARGE = 'The lines around the chunks of the body are too large.';
const CHUNK_LENGTH = 'A chunk does not have the length that was given for it.';
