import { setTimeout as delay } from 'node:timers/promises';
import type { Model, ReplyEvent, ReplyRequest } from './model.js';

interface BuiltInOptions {
  readonly seed: number;
  readonly tokensPerSecond: number;
}

const words = (
  'the sea was calm and light this morning we walked along old streets under plum trees until a small café by ' +
  'harbour gave us warm bread lemon tea its owner told stories of storms boats birds that come back every spring ' +
  'wish you were here tomorrow we take slow train north to hills with love'
).split(' ');

/** Timers are coarser than a millisecond: faster speeds send several tokens a tick. */
const TICK_MS = 10;
const SHORTEST = 8;
const LONGEST = 24;

/** Writes postcards without any model: the same seed, history length and question give the same text at the same speed. */
export class BuiltInModel implements Model {
  constructor(private readonly options: BuiltInOptions) {}

  async *reply({ turns, question, tokensMax, signal }: ReplyRequest): AsyncGenerator<ReplyEvent> {
    const random = randomFrom(`${this.options.seed} ${turns.length} ${question}`);
    const length = Math.min(tokensMax, SHORTEST + Math.floor(random() * (LONGEST - SHORTEST + 1)));
    const startedMs = performance.now();
    for (let written = 0; written < length; written++) {
      const behindMs = (written / this.options.tokensPerSecond) * 1000 - (performance.now() - startedMs);
      if (behindMs > 0) await delay(Math.max(behindMs, TICK_MS), undefined, { signal });
      signal.throwIfAborted();
      const word = words[Math.floor(random() * words.length)]!;
      const first = written === 0 ? word.charAt(0).toUpperCase() + word.slice(1) : ` ${word}`;
      yield { kind: 'text', text: written === length - 1 ? `${first}.` : first };
    }
  }
}

/** A linear congruential generator whose first state is the FNV-1a hash of a text. */
function randomFrom(text: string): () => number {
  let state = 0x81_1c_9d_c5;
  for (const character of text) state = Math.imul(state ^ character.codePointAt(0)!, 0x01_00_01_93) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}
