import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { RecentTexts } from './recent-texts.js';
import { VerdictCache } from './verdict-cache.js';

const HEAD_OCTETS = 30_000;
const COUNT = 5_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** A token as it comes: cut out of the head of its request. */
const tokenOf = (index: number) => {
  const head = Buffer.alloc(HEAD_OCTETS, 'a');
  head.write(String(index).padStart(10, '0'), 600, 'latin1');
  return head.toString('latin1').slice(100, 610);
};

test.each([
  [
    'verdicts',
    () => {
      const cache = new VerdictCache(2 * COUNT);
      return (text: string) => cache.set(text, true);
    },
  ],
  [
    'expired tokens',
    () => {
      const recent = new RecentTexts();
      return (text: string) => recent.add(text);
    },
  ],
])('%s keep their tokens, not the heads these came in', (_, begin) => {
  const keep = begin();
  const held = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = held();
  for (let index = 0; index < COUNT; index++) keep(tokenOf(index));
  expect(held() - before).toBeLessThan((COUNT * HEAD_OCTETS) / 10);
  keep(tokenOf(COUNT));
});
