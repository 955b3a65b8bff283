import { Buffer, isUtf8 } from 'node:buffer';
import type { Allocate } from '../wire/allocate.js';
import { longRun, plainRunEnd } from '../wire/plain-run.js';
import { invalidMessage } from './wire-message.js';

const keptBytesMax = 1 << 20;
/** Defaults make JSON many times larger than the message, so a message within its bound can print without one. */
const textBytesMax = 1 << 28;

/** What follows the backslash for the bytes that JSON escapes: 0 for none, `u` for a code. */
const escapes = new Uint8Array(256);
escapes.fill(0x75, 0, 0x20);
for (const [byte, letter] of Object.entries({ 8: 'b', 9: 't', 10: 'n', 12: 'f', 13: 'r', 34: '"', 92: '\\' })) {
  escapes[Number(byte)] = letter.charCodeAt(0);
}
const hexDigits = Buffer.from('0123456789abcdef');

/** Writes JSON as UTF-8 into a buffer that is used again for the next text. */
export class JsonWriter {
  buf = Buffer.allocUnsafeSlow(8192);
  pos = 0;

  ensure(count: number): void {
    const needed = this.pos + count;
    if (needed <= this.buf.length) return;
    if (needed > textBytesMax) invalidMessage(`its JSON is larger than ${textBytesMax} bytes`);
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buf.length * 2));
    this.buf.copy(larger, 0, 0, this.pos);
    this.buf = larger;
  }

  byte(value: number): void {
    this.ensure(1);
    this.buf[this.pos++] = value;
  }

  /** Text that is JSON already. */
  raw(text: Uint8Array): void {
    this.ensure(text.length);
    const { buf } = this;
    let { pos } = this;
    for (let i = 0; i < text.length; i++) buf[pos++] = text[i]!;
    this.pos = pos;
  }

  /** ASCII text that is JSON already. */
  ascii(text: string): void {
    this.ensure(text.length);
    const { buf } = this;
    let { pos } = this;
    for (let i = 0; i < text.length; i++) buf[pos++] = text.charCodeAt(i);
    this.pos = pos;
  }

  quotedAscii(text: string): void {
    this.byte(0x22);
    this.ascii(text);
    this.byte(0x22);
  }

  string(text: string): void {
    const bytes = Buffer.from(text);
    this.utf8(bytes, 0, bytes.length, true);
  }

  /** @param value an integer */
  integer(value: number): void {
    if (value !== (value | 0) || value < 0) return this.ascii(String(value));
    this.ensure(10);
    const { buf } = this;
    let rest = value | 0;
    let end = this.pos + 1;
    for (let bound = 10; rest >= bound && end < this.pos + 10; bound *= 10) end++;
    for (let at = end - 1; at >= this.pos; at--) {
      const tenth = (rest / 10) | 0;
      buf[at] = 0x30 + (rest - tenth * 10);
      rest = tenth;
    }
    this.pos = end;
  }

  /**
   * A string from its UTF-8 bytes, in quotes and escaped.
   * @param strict fail on bytes that are not UTF-8, instead of replacing them by U+FFFD
   */
  utf8(source: Buffer, start: number, end: number, strict: boolean): void {
    const from = this.pos;
    let all = 0;
    this.byte(0x22);
    if (end - start <= longRun) all = this.escaped(source, start, end);
    else this.long(source, start, end);
    this.byte(0x22);
    if ((all >= 0x80 || end - start > longRun) && !isUtf8(source.subarray(start, end))) {
      if (strict) invalidMessage('a string is not UTF-8');
      this.pos = from;
      this.string(source.toString('utf8', start, end));
    }
  }

  /** Copies runs without escapes as a whole. */
  private long(source: Buffer, start: number, end: number): void {
    let from = start;
    while (from < end) {
      const run = plainRunEnd(source, from, end);
      this.ensure(run - from);
      this.pos += source.copy(this.buf, this.pos, from, run);
      const next = Math.min(run + longRun, end);
      this.escaped(source, run, next);
      from = next;
    }
  }

  /** @returns all bytes or-ed together */
  private escaped(source: Buffer, start: number, end: number): number {
    // At most six bytes for each: \u001f.
    this.ensure((end - start) * 6);
    const { buf } = this;
    let { pos } = this;
    let all = 0;
    for (let i = start; i < end; i++) {
      const byte = source[i]!;
      const escape = escapes[byte]!;
      all |= byte;
      if (escape === 0) {
        buf[pos++] = byte;
      } else {
        buf[pos++] = 0x5c;
        buf[pos++] = escape;
        if (escape === 0x75) {
          buf[pos++] = 0x30;
          buf[pos++] = 0x30;
          buf[pos++] = hexDigits[byte >> 4]!;
          buf[pos++] = hexDigits[byte & 15]!;
        }
      }
    }
    this.pos = pos;
    return all;
  }

  /** A copy of what was written; the writer is empty afterwards. */
  finish(allocate: Allocate = Buffer.allocUnsafe): Buffer {
    const { pos } = this;
    const text = allocate(pos);
    this.buf.copy(text, 0, 0, pos);
    this.reset();
    return text;
  }

  reset(): void {
    this.pos = 0;
    if (this.buf.length > keptBytesMax) this.buf = Buffer.allocUnsafeSlow(8192);
  }
}
