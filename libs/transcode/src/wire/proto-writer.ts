import { Buffer } from 'node:buffer';
import type { Allocate } from './allocate.js';

/** What a writer keeps between messages; a larger buffer is given back after use. */
const keptBytesMax = 1 << 20;
/** Text up to this length is written without leaving JavaScript, when it is ASCII. */
const SHORT = 48;

/** Writes protobuf wire format into a buffer that is used again for the next message. */
export class ProtoWriter {
  buf = Buffer.allocUnsafeSlow(4096);
  pos = 0;

  /** Makes room for `count` more bytes. */
  ensure(count: number): void {
    const needed = this.pos + count;
    if (needed <= this.buf.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buf.length * 2));
    this.buf.copy(larger, 0, 0, this.pos);
    this.buf = larger;
  }

  /** @param value 0 to 2^32 - 1 */
  varint32(value: number): void {
    this.ensure(5);
    const { buf } = this;
    let pos = this.pos;
    while (value > 0x7f) {
      buf[pos++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    buf[pos++] = value;
    this.pos = pos;
  }

  /** The two unsigned halves of a 64-bit value. */
  varint64(lo: number, hi: number): void {
    this.ensure(10);
    while (hi !== 0) {
      this.buf[this.pos++] = (lo & 0x7f) | 0x80;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.varint32(lo);
  }

  /** A negative 32-bit value takes ten bytes, as if it had been 64 bits wide. */
  int32(value: number): void {
    if (value >= 0) this.varint32(value);
    else this.varint64(value >>> 0, 0xffffffff);
  }

  /** @param value an integer below 2^53 or of 64 bits, signed or not */
  int64(value: number | bigint): void {
    if (typeof value === 'number') {
      if (value >= 0 && value <= 0xffffffff) this.varint32(value);
      else this.varint64(value >>> 0, Math.floor(value / 0x100000000) >>> 0);
    } else {
      this.varint64(Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
    }
  }

  fixed32(value: number): void {
    this.ensure(4);
    this.pos = this.buf.writeUInt32LE(value >>> 0, this.pos);
  }

  fixed64(value: number | bigint): void {
    this.ensure(8);
    this.pos = this.buf.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), this.pos);
  }

  float(value: number): void {
    this.ensure(4);
    this.pos = this.buf.writeFloatLE(value, this.pos);
  }

  double(value: number): void {
    this.ensure(8);
    this.pos = this.buf.writeDoubleLE(value, this.pos);
  }

  /** A length and that many bytes of `source`. */
  bytes(source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.varint32(length);
    this.ensure(length);
    if (length > 32) {
      this.buf.set(source.subarray(start, end), this.pos);
      this.pos += length;
      return;
    }
    const { buf } = this;
    let pos = this.pos;
    for (let i = start; i < end; i++) buf[pos++] = source[i]!;
    this.pos = pos;
  }

  string(text: string): void {
    if (text.length <= SHORT && this.ascii(text)) return;
    const length = Buffer.byteLength(text);
    this.varint32(length);
    this.ensure(length);
    this.pos += this.buf.write(text, this.pos);
  }

  /** @returns false when the text has other characters than ASCII: nothing was written */
  private ascii(text: string): boolean {
    const { length } = text;
    this.ensure(1 + length);
    const { buf, pos } = this;
    for (let at = 0; at < length; at++) {
      const code = text.charCodeAt(at);
      if (code > 0x7f) return false;
      buf[pos + 1 + at] = code;
    }
    buf[pos] = length;
    this.pos = pos + 1 + length;
    return true;
  }

  /** Begins a value whose length is known at its end. */
  open(): number {
    this.ensure(1);
    return ++this.pos;
  }

  /** Ends what `open` began: puts the length before it, moving it when the length takes more than a byte. */
  close(start: number): void {
    const length = this.pos - start;
    if (length <= 0x7f) {
      this.buf[start - 1] = length;
      return;
    }
    let extra = 1;
    for (let rest = length >>> 14; rest > 0; rest >>>= 7) extra++;
    this.ensure(extra);
    this.buf.copyWithin(start + extra, start, this.pos);
    const end = this.pos + extra;
    this.pos = start - 1;
    this.varint32(length);
    this.pos = end;
  }

  /** A copy of what was written; the writer is empty afterwards. */
  finish(allocate: Allocate = Buffer.allocUnsafe): Uint8Array {
    const { pos } = this;
    const message = allocate(pos);
    this.buf.copy(message, 0, 0, pos);
    this.reset();
    return message;
  }

  reset(): void {
    this.pos = 0;
    if (this.buf.length > keptBytesMax) this.buf = Buffer.allocUnsafeSlow(4096);
  }
}
