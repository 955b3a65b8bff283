import { describe, expect, it } from 'vitest';
import { BuiltInModel } from './built-in-model.js';
import { estimatePrompt, estimateTokens } from './model.js';

const fast = new BuiltInModel({ seed: 1, tokensPerSecond: 1_000_000 });

async function reply(model: BuiltInModel, question: string, tokensMax = 64, signal = new AbortController().signal) {
  const pieces: string[] = [];
  for await (const event of model.reply({ turns: [], question, tokensMax, signal })) {
    if (event.kind === 'text') pieces.push(event.text);
  }
  return pieces;
}

describe('the built-in model', () => {
  it('gives the same reply for the same seed and question, another one for others', async () => {
    const first = (await reply(fast, 'hello')).join('');
    expect((await reply(fast, 'hello')).join('')).toBe(first);
    expect((await reply(fast, 'goodbye')).join('')).not.toBe(first);
    const other = new BuiltInModel({ seed: 2, tokensPerSecond: 1_000_000 });
    expect((await reply(other, 'hello')).join('')).not.toBe(first);
  });

  it('writes between 8 tokens and 24, and never more than it may', async () => {
    for (let question = 0; question < 100; question++) {
      const { length } = await reply(fast, String(question));
      expect(length).toBeGreaterThanOrEqual(8);
      expect(length).toBeLessThanOrEqual(24);
    }
    expect(await reply(fast, 'hello', 3)).toHaveLength(3);
  });

  it('ends when nobody wants it any more', async () => {
    const left = new AbortController();
    const slow = new BuiltInModel({ seed: 1, tokensPerSecond: 1 });
    const running = reply(slow, 'hello', 64, left.signal);
    left.abort();
    await expect(running).rejects.toThrow(/abort/i);
  });
});

it('estimates what a question costs with all that is sent along', () => {
  expect([estimateTokens(''), estimateTokens('abcd'), estimateTokens('abcde')]).toEqual([1, 1, 2]);
  expect(estimatePrompt([{ question: 'abcd', answer: 'abcdefgh' }], 'abcde')).toBe(5);
});
