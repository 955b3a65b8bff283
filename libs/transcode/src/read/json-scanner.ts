import { Buffer, isUtf8 } from 'node:buffer';
import { TranscodeError, shorten } from '../errors.js';
import type { TranscodeErrorCode } from '../errors.js';
import { firstInvalidUtf8 } from '../wire/utf8.js';
import { longRun, plainRunEnd } from '../wire/plain-run.js';
import { escapeEnd } from './escape.js';
import { pathAt, positionOf } from './position.js';

const quote = 0x22;
const backslash = 0x5c;

/**
 * Reads JSON (RFC 8259) from UTF-8 bytes, token by token, in one pass and without making objects of it. The text is
 * checked as it is consumed; a fault throws a `TranscodeError` with its position.
 */
export class JsonScanner {
  buf: Buffer = Buffer.alloc(0);
  pos = 0;
  private end = 0;
  private depth = 0;
  private depthMax = 0;

  /** Content of the last string or number: from `start` until before `stop`. */
  start = 0;
  stop = 0;
  /** Whether the last string has escapes, so that its bytes are not its value. */
  escaped = false;
  /** Hash of the last name's bytes, as `hashOf` computes it. */
  hash = 0;
  /** Whether the last number has neither fraction nor exponent. */
  integral = false;
  /** Bytes that `skipValue` passed over, which are read once more later. */
  private skipped = 0;

  /** @throws TranscodeError when the text is not UTF-8 */
  reset(text: Uint8Array, depthMax: number): void {
    this.buf = Buffer.isBuffer(text) ? text : Buffer.from(text.buffer, text.byteOffset, text.byteLength);
    this.pos = 0;
    this.end = text.length;
    this.depth = 0;
    this.depthMax = depthMax;
    this.skipped = 0;
    if (!isUtf8(text)) this.fail('INVALID_JSON', 'the text is not UTF-8', firstInvalidUtf8(this.buf));
  }

  /** Lets go of the text. */
  release(): void {
    this.buf = nothing;
  }

  /** The next byte that is not white space, or -1 at the end. */
  peek(): number {
    const { buf, end } = this;
    let pos = this.pos;
    while (pos < end) {
      const byte = buf[pos]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        this.pos = pos;
        return byte;
      }
      pos++;
    }
    this.pos = pos;
    return -1;
  }

  finish(): void {
    if (this.peek() !== -1) this.fail('INVALID_JSON', 'unexpected text after the value');
  }

  /** Enters an object or array. @returns whether it has a first member or item */
  enter(open: 0x7b | 0x5b): boolean {
    if (this.peek() !== open) this.unexpected(open === 0x7b ? 'an object' : 'an array');
    this.pos++;
    if (this.peek() !== open + 2) return true;
    this.pos++;
    return false;
  }

  /**
   * Counts messages that are being read within one another, as the services that parse them do: by what is on the wire. A map's
   * entry is a message of its own, so one level of a `google.protobuf.Struct` is three: entry, Value, Struct.
   */
  descend(levels: number): void {
    this.depth += levels;
    if (this.depth > this.depthMax) {
      this.fail('INVALID_JSON', `nested deeper than ${this.depthMax} levels of messages`);
    }
  }

  ascend(levels: number): void {
    this.depth -= levels;
  }

  /** Goes on after a member or item. @returns whether another follows; if not, the container is left */
  next(close: 0x7d | 0x5d): boolean {
    const byte = this.peek();
    if (byte === 0x2c) {
      this.pos++;
      return true;
    }
    if (byte !== close) this.unexpected(`"," or "${String.fromCharCode(close)}"`, 'INVALID_JSON');
    this.pos++;
    return false;
  }

  /** A member's name with the colon after it: sets `start`, `stop`, `escaped` and `hash`. */
  name(): void {
    if (this.peek() !== quote) this.unexpected('a member name in quotes', 'INVALID_JSON');
    const { buf, end } = this;
    let pos = this.pos + 1;
    let hash = 0;
    this.start = pos;
    this.escaped = false;
    for (;;) {
      const byte = pos < end ? buf[pos]! : 0;
      if (byte === quote) break;
      if (byte === backslash) {
        this.escaped = true;
        pos = this.checkEscape(pos);
      } else {
        if (byte < 0x20) this.failInString(pos);
        hash = (Math.imul(hash, 31) + byte) | 0;
        pos++;
      }
    }
    this.stop = pos;
    this.hash = hash;
    this.pos = pos + 1;
    if (this.peek() !== 0x3a) this.unexpected('":"', 'INVALID_JSON');
    this.pos++;
  }

  /** A string: sets `start`, `stop` and `escaped`. */
  string(): void {
    if (this.peek() !== quote) this.unexpected('a string');
    const { buf, end } = this;
    let pos = this.pos + 1;
    let runEnd = Math.min(pos + longRun, end);
    this.start = pos;
    this.escaped = false;
    for (;;) {
      const byte = pos < runEnd ? buf[pos]! : 0;
      if (byte === quote) break;
      if (byte === backslash) {
        this.escaped = true;
        pos = this.checkEscape(pos);
      } else if (byte >= 0x20) {
        pos++;
      } else if (pos < runEnd || pos >= end) {
        this.failInString(pos);
      } else {
        pos = plainRunEnd(buf, pos, end);
        runEnd = Math.min(pos + longRun, end);
      }
    }
    this.stop = pos;
    this.pos = pos + 1;
  }

  /** The text of the last string or name. */
  text(): string {
    return this.escaped
      ? (JSON.parse(this.buf.toString('utf8', this.start - 1, this.stop + 1)) as string)
      : this.buf.toString('utf8', this.start, this.stop);
  }

  /** A number: sets `start`, `stop` and `integral`. */
  number(): void {
    this.peek();
    const stop = this.numberEnd(this.pos);
    if (stop < 0) this.unexpected('a number');
    this.start = this.pos;
    this.stop = stop;
    this.pos = stop;
  }

  /** An integer of at most 15 digits, which is the common case; NaN when something else is next. */
  shortInteger(): number {
    const { buf } = this;
    let pos = this.pos;
    const isNegative = buf[pos] === 0x2d;
    if (isNegative) pos++;
    const start = pos;
    let value = 0;
    let byte = buf[pos]!;
    while (isDigit(byte)) {
      value = value * 10 + (byte - 0x30);
      byte = buf[++pos]!;
    }
    const digits = pos - start;
    if (digits === 0 || digits > 15 || byte === 0x2e || (byte | 0x20) === 0x65) return NaN;
    if (digits > 1 && buf[start] === 0x30) return NaN;
    this.pos = pos;
    return isNegative ? -value : value;
  }

  /** The index after the number of RFC 8259 section 6 that begins at `pos`, or -1; sets `integral`. */
  numberEnd(pos: number): number {
    const { buf } = this;
    if (buf[pos] === 0x2d) pos++;
    const first = buf[pos]!;
    if (!isDigit(first)) return -1;
    pos++;
    if (first !== 0x30) while (isDigit(buf[pos]!)) pos++;
    this.integral = true;
    if (buf[pos] === 0x2e) {
      this.integral = false;
      if (!isDigit(buf[++pos]!)) return -1;
      while (isDigit(buf[pos]!)) pos++;
    }
    if ((buf[pos]! | 0x20) === 0x65) {
      this.integral = false;
      pos++;
      if (buf[pos] === 0x2b || buf[pos] === 0x2d) pos++;
      if (!isDigit(buf[pos]!)) return -1;
      while (isDigit(buf[pos]!)) pos++;
    }
    return pos;
  }

  /** One of `true`, `false` and `null`. */
  literal(word: string): void {
    this.peek();
    for (let i = 0; i < word.length; i++) {
      if (this.buf[this.pos + i] !== word.charCodeAt(i)) this.unexpected('a value', 'INVALID_JSON');
    }
    this.pos += word.length;
  }

  /** Consumes `null` when it is next. */
  null(): boolean {
    if (this.peek() !== 0x6e) return false;
    this.literal('null');
    return true;
  }

  /**
   * Passes over a value that is read again later, so that a member further on can be looked at first. What is passed
   * over is bounded by four times the text, lest nested look-aheads cost a multiple of it.
   */
  skipValue(): void {
    const from = this.pos;
    let open = 0;
    do {
      const byte = this.peek();
      if (byte === quote) this.string();
      else if (byte === 0x7b || byte === 0x5b) {
        open++;
        this.pos++;
      } else if (byte === 0x7d || byte === 0x5d) {
        if (--open < 0) this.unexpected('a value', 'INVALID_JSON');
        this.pos++;
      } else if (byte === 0x2c || byte === 0x3a) {
        if (open === 0) this.unexpected('a value', 'INVALID_JSON');
        this.pos++;
        continue;
      } else if (byte === 0x74) this.literal('true');
      else if (byte === 0x66) this.literal('false');
      else if (byte === 0x6e) this.literal('null');
      else this.number();
    } while (open > 0);
    this.skipped += this.pos - from;
    if (this.skipped > 4 * this.end + 4096) {
      this.fail('INVALID_JSON', 'too many nested google.protobuf.Any whose "@type" is not their first member');
    }
  }

  /** Passes over a value that nobody reads; it must be JSON all the same. */
  discard(levels = 0): void {
    if (levels > this.depthMax) this.fail('INVALID_JSON', `nested deeper than ${this.depthMax} levels`);
    switch (this.peek()) {
      case 0x7b:
        if (!this.enter(0x7b)) return;
        do {
          this.name();
          this.discard(levels + 1);
        } while (this.next(0x7d));
        return;
      case 0x5b:
        if (!this.enter(0x5b)) return;
        do this.discard(levels + 1);
        while (this.next(0x5d));
        return;
      case quote:
        return this.string();
      case 0x74:
        return this.literal('true');
      case 0x66:
        return this.literal('false');
      case 0x6e:
        return this.literal('null');
      default:
        return this.number();
    }
  }

  /** Complains about the next value, or about the end of the text. */
  unexpected(expected: string, code: TranscodeErrorCode = 'INVALID_VALUE'): never {
    const byte = this.peek();
    if (byte === -1) return this.fail('INVALID_JSON', `expected ${expected}, but the text ends`);
    const found = this.describe(byte);
    const known = found !== undefined;
    return this.fail(known ? code : 'INVALID_JSON', `expected ${expected}${known ? `, found ${found}` : ''}`);
  }

  private spells(word: string): boolean {
    return this.buf.toString('latin1', this.pos, Math.min(this.pos + word.length, this.end)) === word;
  }

  private describe(byte: number): string | undefined {
    switch (byte) {
      case 0x7b:
        return 'an object';
      case 0x5b:
        return 'an array';
      case quote:
        return 'a string';
      case 0x74:
        return this.spells('true') ? 'a boolean' : undefined;
      case 0x66:
        return this.spells('false') ? 'a boolean' : undefined;
      case 0x6e:
        return this.spells('null') ? 'null' : undefined;
      default:
        return this.numberEnd(this.pos) > 0 ? 'a number' : undefined;
    }
  }

  /**
   * @param at offset of the fault
   * @param named offset up to which the text tells the member at fault
   */
  fail(code: TranscodeErrorCode, reason: string, at = this.pos, named = at): never {
    const field = pathAt(this.buf, Math.min(named, this.end));
    const where = field === undefined ? '' : `${shorten(field, 200)}: `;
    throw new TranscodeError(code, where + reason, field, positionOf(this.buf, Math.min(at, this.end)));
  }

  /** @param pos of a backslash. @returns the index after the escape */
  private checkEscape(pos: number): number {
    const end = escapeEnd(this.buf, pos);
    if (end > 0) return end;
    return this.fail('INVALID_JSON', end === 0 ? 'invalid escape in a string' : 'half of a surrogate pair', pos);
  }

  private failInString(pos: number): never {
    return pos >= this.end
      ? this.fail('INVALID_JSON', 'the text ends inside a string', pos)
      : this.fail('INVALID_JSON', 'control character in a string', pos);
  }
}

const nothing = Buffer.alloc(0);

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
