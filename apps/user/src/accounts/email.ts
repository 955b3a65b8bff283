import { domainToASCII } from 'node:url';
import { invalid } from './credentials.js';

/** An e-mail address as it is shown, and as it is compared. */
export interface Email {
  readonly text: string;
  readonly key: string;
}

const EMAIL_CHARACTERS_MAX = 254;
const LOCAL = /^[^\s@\p{C}"(),:;<>[\]\\]{1,64}$/u;
const DOMAIN = /^(?:[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?\.)+[\p{L}\p{M}\p{N}-]{2,63}$/u;
/** Zero-width characters, marks of direction, soft hyphens, selectors of variants: what nobody sees (UAX 44, UTS 39). */
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{Cf}]/gu;

/**
 * Addresses that look alike are one address: both parts in NFKC (full width is ASCII) without what is invisible; the local part
 * without regard to case by full case folding (final sigma, ß), the domain as DNS has it (UTS 46, `xn--`). Stored and shown in the same
 * form with the case it was written in.
 *
 * The length is that of RFC 5321 section 4.5.3.1.3; quoted local parts and address literals are not taken.
 *
 * @throws Problem INVALID_ARGUMENT naming the field
 */
export function readEmail(text: string, field = 'email'): Email {
  if (text.length > EMAIL_CHARACTERS_MAX) throw invalid(field, `must have at most ${EMAIL_CHARACTERS_MAX} characters`);
  const seen = visible(text);
  const at = seen.lastIndexOf('@');
  const [local, domain] = [seen.slice(0, at), seen.slice(at + 1)];
  const ascii = domainToASCII(domain);
  const dots = local.includes('..') || local.startsWith('.') || local.endsWith('.');
  if (
    at < 1 ||
    !LOCAL.test(local) ||
    dots ||
    !DOMAIN.test(domain) ||
    ascii === '' ||
    seen.length > EMAIL_CHARACTERS_MAX
  ) {
    throw invalid(field, 'must be an e-mail address such as ada@example.com');
  }
  return { text: seen, key: `${folded(local)}@${ascii}` };
}

/** The beginning of a key, for whoever looks for addresses that begin like this. */
export function readEmailPrefix(text: string): string {
  const seen = visible(text);
  const at = seen.lastIndexOf('@');
  return at < 0 ? folded(seen) : `${folded(seen.slice(0, at))}@${seen.slice(at + 1).toLowerCase()}`;
}

function visible(text: string): string {
  return text
    .normalize('NFKC')
    .replaceAll(INVISIBLE, '')
    .normalize('NFKC')
    .replaceAll(/[。．｡]/g, '.');
}

/** Upper case first brings together what only there is the same: ß and ss, ſ and s, ı and i; of the two small sigmas one stays. */
function folded(text: string): string {
  return text.toUpperCase().toLowerCase().replaceAll('ς', 'σ').normalize('NFKC');
}
