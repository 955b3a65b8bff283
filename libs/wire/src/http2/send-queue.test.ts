import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SendQueue } from './send-queue.js';

/** Octets that say where they stand. */
const octetsFrom = (from: number, length: number) => Buffer.from(Array.from({ length }, (_, at) => (from + at) % 251));

describe('what waits for its turn', () => {
  it('leaves in order, whatever came in which pieces, and does not change with what it was made of', () => {
    const step = fc.oneof(
      fc.record({ push: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 40_000 })) }),
      fc.record({ send: fc.integer({ min: 1, max: 20_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const queue = new SendQueue();
        let pushed = 0;
        let sent = 0;
        for (const each of steps) {
          if ('push' in each) {
            const bytes = octetsFrom(pushed, each.push);
            queue.push(bytes);
            bytes.fill(255);
            pushed += each.push;
          } else if (queue.octets > 0) {
            const head = queue.head();
            const octets = Math.min(each.send, head.length);
            expect(Buffer.compare(head.subarray(0, octets), octetsFrom(sent, octets))).toBe(0);
            queue.sent(octets);
            sent += octets;
          }
          expect(queue.octets).toBe(pushed - sent);
        }
        queue.drop();
        expect(queue.octets).toBe(0);
      }),
    );
  });

  it('does not give its pages to others before they have left', () => {
    const [one, other] = [new SendQueue(), new SendQueue()];
    one.push(Buffer.alloc(20_000, 1));
    one.sent(one.head().length);
    other.push(Buffer.alloc(20_000, 2));
    expect(one.head().every((octet) => octet === 1)).toBe(true);
    one.drop();
    expect(other.head().every((octet) => octet === 2)).toBe(true);
  });
});
