import type { ZxcvbnFactory } from '@zxcvbn-ts/core';
import { Inject, Injectable } from '@nestjs/common';
import { SETTINGS, type UserSettings } from '../settings.js';
import { invalid } from './credentials.js';

/** What is beyond makes a password no weaker; looking at it would take too long. */
const CHARACTERS_LOOKED_AT = 32;
const NO_LETTERS = /[^\p{L}\p{N}]+/gu;

/**
 * Refuses new passwords that are guessed easily: one of 49 000 that are used most, or near to one, a keyboard row, a repetition, the
 * account's own address or name (NIST SP 800-63B section 5.1.1.2). The lists come with the packages: nothing is asked elsewhere.
 */
@Injectable()
export class PasswordStrength {
  private estimator: Promise<ZxcvbnFactory> | undefined;

  constructor(@Inject(SETTINGS) private readonly settings: UserSettings) {}

  /**
   * @param own what a guesser knows of the account
   * @throws Problem INVALID_ARGUMENT naming the field, never showing it
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
    // 25 MB and 0.2 s, for those who register alone.
    this.estimator ??= load();
    const { score } = (await this.estimator).check(looked(password), words);
    if (score < least) {
      throw invalid(
        field,
        'is guessed too easily: it is a common one, a pattern, or made of your own name or address; take several words that do not belong together',
      );
    }
  }
}

async function load(): Promise<ZxcvbnFactory> {
  const [{ ZxcvbnFactory: Estimator }, { adjacencyGraphs, dictionary }] = await Promise.all([
    import('@zxcvbn-ts/core'),
    import('@zxcvbn-ts/language-common'),
  ]);
  return new Estimator({ dictionary, graphs: adjacencyGraphs, maxLength: CHARACTERS_LOOKED_AT * 2 });
}
