import { afterEach, describe, expect, it } from 'vitest';
import { flushAtEnd, takeAtEnd, takeNow } from './turn.js';

const events: string[] = [];
const noting = (name: string) => (octets: Buffer) => void events.push(`${name} ${octets.toString('latin1')}`);
const turn = () => new Promise((resolve) => setTimeout(resolve));

afterEach(() => {
  events.length = 0;
});

describe('the end of a turn', () => {
  it('comes before anything is taken, and what was read may be overwritten until then', async () => {
    const shared = Buffer.from('one');
    takeAtEnd(shared, noting('a'));
    shared.write('two');
    takeAtEnd(shared, noting('b'));
    shared.write('xxx');
    expect(events).toEqual([]);
    await turn();
    expect(events).toEqual(['a one', 'b two']);
  });

  it('writes what the taking made, and what was waited for in it, in the same turn', async () => {
    let turns = 0;
    takeAtEnd(Buffer.from('x'), () => {
      setImmediate(() => turns++);
      void Promise.resolve().then(() => flushAtEnd({ flush: () => events.push(`written after ${turns} turns`) }));
    });
    await turn();
    expect(events).toEqual(['written after 0 turns']);
  });

  it('keeps the order of small and large reads', async () => {
    takeAtEnd(Buffer.from('small'), noting('a'));
    takeAtEnd(Buffer.alloc(3000, 'x'), ({ length }) => events.push(`a ${length}`));
    expect(events).toEqual(['a small', 'a 3000']);
    takeAtEnd(Buffer.from('small again'), noting('a'));
    await turn();
    expect(events.at(-1)).toBe('a small again');
  });

  it('keeps the order of however many', async () => {
    const sent = Array.from({ length: 1000 }, (_, number) => `a ${number}`);
    for (const [number] of sent.entries()) takeAtEnd(Buffer.from(String(number)), noting('a'));
    await turn();
    expect(events).toEqual(sent);
  });

  it('can be had sooner', () => {
    takeAtEnd(Buffer.from('1'), noting('a'));
    takeNow();
    expect(events).toEqual(['a 1']);
  });

  it('comes for the others when one of them throws', async () => {
    takeAtEnd(Buffer.from('1'), () => {
      throw new Error('a fault');
    });
    takeAtEnd(Buffer.from('2'), noting('b'));
    expect(takeNow).toThrow('a fault');
    await turn();
    expect(events).toEqual(['b 2']);
    takeAtEnd(Buffer.from('3'), noting('c'));
    await turn();
    expect(events).toEqual(['b 2', 'c 3']);
  });
});
