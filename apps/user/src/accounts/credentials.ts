import { Problem } from '@sluice/problem';

export const PASSWORD_CHARACTERS_MIN = 8;
export const PASSWORD_CHARACTERS_MAX = 256;
/** No text of 256 characters in NFC is longer than this before it is normalised, so a longer one needs no normalising to be refused. */
const PASSWORD_UNITS_MAX = 256 * 2 * 4;

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

/**
 * A password that is shown at a login. Whatever cannot be one, too short or too long, is a wrong one, and costs the same: what is
 * returned for it is nobody's password.
 */
export function readShownPassword(text: string): string {
  return text.length > PASSWORD_UNITS_MAX ? '' : text.normalize('NFC');
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
