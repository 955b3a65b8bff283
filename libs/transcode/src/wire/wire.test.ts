import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { longRun, plainRunEnd } from './plain-run.js';
import { ProtoWriter } from './proto-writer.js';
import { firstInvalidUtf8 } from './utf8.js';

const isSpecial = (byte: number): boolean => byte < 0x20 || byte === 0x22 || byte === 0x5c;

test('the end of a plain run, at every alignment', () => {
  const byte = fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom(0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff) },
    fc.nat({ max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: longRun * 4 }), fc.nat({ max: 7 }), (bytes, offset) => {
      const buf = new Uint8Array(offset + bytes.length + 8);
      buf.set(bytes, offset);
      const end = offset + bytes.length;
      let expected = offset;
      while (expected < end && !isSpecial(buf[expected]!)) expected++;
      expect(plainRunEnd(buf, offset, end)).toBe(expected);
      expect(plainRunEnd(buf.subarray(offset), 0, bytes.length)).toBe(expected - offset);
    }),
    { numRuns: 2000 },
  );
});

test('every special byte is found at every place of a long run', () => {
  for (let place = 0; place < 40; place++) {
    for (let byte = 0; byte < 256; byte++) {
      const buf = new Uint8Array(40).fill(0x61);
      buf[place] = byte;
      expect(plainRunEnd(buf, 0, 40)).toBe(isSpecial(byte) ? place : 40);
    }
  }
});

test('the first character that is not UTF-8', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 30 });
  const bad = fc.constantFrom([0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x98], [0x80], [0xc0, 0x80]);
  fc.assert(
    fc.property(text, bad, text, (before, bytes, after) => {
      const start = Buffer.from(before);
      // A continuation byte after the bad ones would complete some of them.
      const buf = Buffer.concat([start, Buffer.from(bytes), Buffer.from(`x${after}`)]);
      expect(isUtf8(buf)).toBe(false);
      expect(firstInvalidUtf8(buf)).toBe(start.length);
    }),
    { numRuns: 1000 },
  );
});

test('lengths of one to four bytes', () => {
  for (const length of [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
    const w = new ProtoWriter();
    w.varint32(0x0a);
    const start = w.open();
    w.ensure(length);
    w.buf.fill(0x61, w.pos, w.pos + length);
    w.pos += length;
    w.close(start);
    w.varint32(0x10);
    const expected = new ProtoWriter();
    expected.varint32(0x0a);
    expected.bytes(Buffer.alloc(length, 0x61), 0, length);
    expected.varint32(0x10);
    expect(Buffer.from(w.finish()).equals(expected.finish())).toBe(true);
  }
});
