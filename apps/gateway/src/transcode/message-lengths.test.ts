import { describe, expect, it } from 'vitest';
import { MessageLengths } from './message-lengths.js';

const message = (octets: number, sent = octets) => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(octets, 1);
  return Buffer.concat([prefix, Buffer.alloc(sent, 0xff)]);
};

describe('lengths of messages', () => {
  const stream = Buffer.concat([message(3), message(0), message(10), message(11, 4)]);

  it('one that is longer than allowed is told of, wherever the stream is cut', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const lengths = new MessageLengths(10);
      const told = [lengths.excess(stream.subarray(0, cut)), lengths.excess(stream.subarray(cut))];
      expect(told.filter((length) => length !== undefined)[0]).toBe(11);
    }
  });

  it('none is, when none is longer', () => {
    const lengths = new MessageLengths(11);
    for (const octet of stream) expect(lengths.excess(Buffer.from([octet]))).toBeUndefined();
  });

  it('the largest length there is', () => {
    expect(new MessageLengths(2 ** 31).excess(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))).toBe(2 ** 32 - 1);
  });
});
