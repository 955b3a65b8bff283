/** A thread of its own: estimating how easily a password is guessed takes 15 to 50 ms, for which the event loop would stand still. */
import { parentPort } from 'node:worker_threads';
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import { adjacencyGraphs, dictionary } from '@zxcvbn-ts/language-common';

/** What is asked. */
export interface Estimation {
  readonly id: number;
  readonly password: string;
  /** What a guesser knows of the account. */
  readonly words: string[];
}

/** What is answered: 0 (guessed at once) to 4. */
export interface Estimated {
  readonly id: number;
  readonly score: number;
}

const CHARACTERS_MAX = 64;
const estimator = new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs, maxLength: CHARACTERS_MAX });

parentPort?.on('message', ({ id, password, words }: Estimation) => {
  parentPort!.postMessage({ id, score: estimator.check(password, words).score } satisfies Estimated, []);
});
