import { describe, expect, it } from 'vitest';
import { MessageMemory } from './page-pool.js';

describe('the memory of messages', () => {
  it('is used again when it was given back, by a part of it too', () => {
    const memory = new MessageMemory();
    const first = memory.take(100_000);
    expect(first).toHaveLength(100_000);
    memory.give(first.subarray(5));
    const second = memory.take(70_000);
    expect(second).toHaveLength(70_000);
    expect(second.buffer).toBe(first.buffer);
    expect(memory.take(100_000).buffer).not.toBe(first.buffer);
  });

  it('is given back once, however often that is said', () => {
    const memory = new MessageMemory();
    const first = memory.take(100_000);
    memory.give(first);
    memory.give(first);
    expect(memory.take(100_000).buffer).not.toBe(memory.take(100_000).buffer);
  });

  it('takes nothing that is not its own', () => {
    const memory = new MessageMemory();
    const foreign = Buffer.allocUnsafeSlow(131_072);
    memory.give(foreign);
    expect(memory.take(100_000).buffer).not.toBe(foreign.buffer);
  });

  it('keeps no more than a few of a size', () => {
    const memory = new MessageMemory();
    const taken = Array.from({ length: 40 }, () => memory.take(131_072));
    for (const each of taken) memory.give(each);
    const again = new Set(Array.from({ length: 40 }, () => memory.take(131_072).buffer));
    expect(taken.filter(({ buffer }) => again.has(buffer))).toHaveLength(32);
  });

  it('has no pages for small and for very large ones', () => {
    const memory = new MessageMemory();
    const large = memory.take(2_000_000);
    memory.give(large);
    expect(memory.take(2_000_000).buffer).not.toBe(large.buffer);
    expect(memory.take(10)).toHaveLength(10);
    expect(memory.take(0)).toHaveLength(0);
  });
});
