import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pieces } from './pieces.js';

const drain = (pieces: Pieces): Buffer[] => {
  const all: Buffer[] = [];
  while (pieces.octets > 0) all.push(pieces.shift());
  return all;
};

describe('octets that arrive in pieces', () => {
  it('are the same octets, whatever the pieces were and whatever becomes of them', () => {
    const piece = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes));
    const large = fc.integer({ min: 4_000, max: 6_000 }).map((length) => Buffer.alloc(length, length % 251));
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, piece, large), { maxLength: 60 }), fc.nat(60), (all, taken) => {
        const pieces = new Pieces();
        const out: Buffer[] = [];
        all.forEach((one, index) => {
          pieces.push(one);
          if (index === taken) out.push(pieces.shift());
        });
        const rest = pieces.octets;
        const whole = Buffer.concat(all);
        // Who read them uses their memory again.
        for (const one of all) one.fill(0);
        const left = Buffer.concat(drain(pieces));
        expect(left.length).toBe(rest);
        expect(Buffer.concat([...out, left])).toEqual(whole);
      }),
    );
  });

  it('are held in few buffers however many there were, and a large one in one of its own', () => {
    const pieces = new Pieces();
    for (let at = 0; at < 1_000_000; at++) pieces.push(Buffer.of(at & 0xff));
    const large = Buffer.alloc(5_000);
    pieces.push(large);
    const all = drain(pieces);
    expect(all.length).toBeLessThan(100);
    expect(all.at(-1)).toEqual(large);
  });

  it('keep nothing alive of what was read with them', () => {
    const pieces = new Pieces();
    const read = Buffer.alloc(65_536);
    pieces.push(read.subarray(7, 17));
    const [one] = drain(pieces);
    expect(one!.length).toBe(10);
    expect(one!.buffer).not.toBe(read.buffer);
  });
});
