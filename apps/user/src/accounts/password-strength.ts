import { Worker } from 'node:worker_threads';
import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { SETTINGS, type UserSettings } from '../settings.js';
import { invalid } from './credentials.js';
import type { Estimated, Estimation } from './password-estimator.js';

/** What is beyond makes a password no weaker; looking at it would take too long. */
const CHARACTERS_LOOKED_AT = 32;
const NO_LETTERS = /[^\p{L}\p{N}]+/gu;
/** Estimations that wait at most: some seconds of them. */
const WAITING_MAX = 200;

/**
 * Refuses new passwords that are guessed easily: one of 49 000 that are used most, or near to one, a keyboard row, a repetition, the
 * account's own address or name (NIST SP 800-63B section 5.1.1.2). The lists come with the packages: nothing is asked elsewhere.
 */
@Injectable()
export class PasswordStrength {
  private estimator: Worker | undefined;
  private readonly waiting = new Map<number, PromiseWithResolvers<number>>();
  private lastId = 0;

  constructor(@Inject(SETTINGS) private readonly settings: UserSettings) {}

  /**
   * @param own what a guesser knows of the account
   * @throws Problem INVALID_ARGUMENT naming the field, never showing it; OVERLOADED when too many are being looked at
   */
  async check(password: string, own: readonly string[], field = 'password'): Promise<void> {
    const least = this.settings.PASSWORD_STRENGTH_MIN;
    if (least === 0) return;
    const looked = (text: string) => [...text].slice(0, CHARACTERS_LOOKED_AT).join('');
    const words = own
      .flatMap((text) => [text, text.split('@', 1)[0]!, ...text.split(NO_LETTERS)])
      .flatMap((word) => [word, word.replaceAll(NO_LETTERS, '')])
      .map(looked)
      .filter((word) => word.length > 2);
    if ((await this.scoreOf(looked(password), words)) < least) {
      throw invalid(
        field,
        'is guessed too easily: it is a common one, a pattern, or made of your own name or address; take several words that do not belong together',
      );
    }
  }

  private scoreOf(password: string, words: string[]): Promise<number> {
    if (this.waiting.size >= WAITING_MAX) {
      throw new Problem('OVERLOADED', 'Too many new passwords are being looked at at the moment.', {
        details: { retry_after_ms: 1000 },
      });
    }
    this.estimator ??= this.start();
    const id = ++this.lastId;
    const answer = Promise.withResolvers<number>();
    this.waiting.set(id, answer);
    this.estimator.ref();
    this.estimator.postMessage({ id, password, words } satisfies Estimation, []);
    return answer.promise;
  }

  /** 25 MB and 0.2 s, for those who register alone. It keeps no process alive. */
  private start(): Worker {
    // Tests run the sources.
    const file = `./password-estimator${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`;
    const worker = new Worker(new URL(file, import.meta.url));
    worker.on('message', ({ id, score }: Estimated) => {
      this.waiting.get(id)?.resolve(score);
      this.waiting.delete(id);
      if (this.waiting.size === 0) worker.unref();
    });
    worker.on('error', (error) => {
      this.estimator = undefined;
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    });
    return worker;
  }
}
