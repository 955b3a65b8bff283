import { createHash, randomBytes } from 'node:crypto';
import { Problem } from '@sluice/problem';

/** `slk_` and 32 random bytes in base64url. */
const TEXT = /^slk_[A-Za-z0-9_-]{43}$/;

export function newLinkToken(): string {
  return `slk_${randomBytes(32).toString('base64url')}`;
}

/** What is kept of a token. So many random bits need no slow hash. */
export function hashOfLink(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** @throws Problem LINK_INVALID for a text that cannot be a token */
export function readLinkToken(token: string): Buffer {
  if (!TEXT.test(token)) throw linkInvalid();
  return hashOfLink(token);
}

/** One answer for every link that does not work: used, replaced, expired, or never made. */
export function linkInvalid(): Problem {
  return new Problem(
    'LINK_INVALID',
    'The link does not work: it was used, a newer one was sent, or its time is over. Ask for a new one.',
    { details: { field: 'token' } },
  );
}
