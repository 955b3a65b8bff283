import { Problem } from '@sluice/problem';

/** An e-mail address as the user wrote it, and as it is compared. */
export interface Email {
  readonly text: string;
  readonly key: string;
}

const EMAIL_CHARACTERS_MAX = 254;
const EMAIL =
  /^[^\s@\p{Cc}"(),:;<>[\]\\]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+[\p{L}\p{N}-]{2,63}$/u;

export const PASSWORD_CHARACTERS_MIN = 8;
export const PASSWORD_CHARACTERS_MAX = 256;
/** No text of 256 characters in NFC is longer than this before it is normalised, so a longer one needs no normalising to be refused. */
const PASSWORD_UNITS_MAX = 256 * 2 * 4;

/**
 * The length is that of RFC 5321 section 4.5.3.1.3; quoted local parts and address literals are not taken.
 * Addresses are compared in NFC without regard to case.
 *
 * @throws Problem INVALID_ARGUMENT naming the field
 */
export function readEmail(text: string, field = 'email'): Email {
  if (text.length > EMAIL_CHARACTERS_MAX) {
    throw invalid(field, `must have at most ${EMAIL_CHARACTERS_MAX} characters`);
  }
  const normal = text.normalize('NFC');
  if (!EMAIL.test(normal) || normal.includes('..') || normal.startsWith('.')) {
    throw invalid(field, 'must be an e-mail address such as ada@example.com');
  }
  return { text: normal, key: normal.toLowerCase() };
}

/**
 * A password in NFC, so that the same characters typed on another keyboard are the same password; never cut, every
 * character counts, none is forbidden (NIST SP 800-63B section 5.1.1.2).
 *
 * @throws Problem INVALID_ARGUMENT naming the field
 */
export function readPassword(text: string, field = 'password'): string {
  const lengths = `must have ${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX} characters`;
  if (text.length > PASSWORD_UNITS_MAX) throw invalid(field, lengths);
  const normal = text.normalize('NFC');
  const { length } = [...normal];
  if (length < PASSWORD_CHARACTERS_MIN || length > PASSWORD_CHARACTERS_MAX) throw invalid(field, lengths);
  return normal;
}

/** The contract says which characters it may have. @throws Problem INVALID_ARGUMENT naming the field */
export function readText(text: string, field: string, charactersMax: number): string {
  if (text.length > charactersMax * 2 || [...text].length > charactersMax) {
    throw invalid(field, `must have at most ${charactersMax} characters`);
  }
  return text;
}

export function invalid(field: string, expectation: string): Problem {
  return new Problem('INVALID_ARGUMENT', `${field} ${expectation}.`, { details: { field } });
}
