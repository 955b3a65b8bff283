import { createHash } from 'node:crypto';
import { randomText } from '@sluice/identity';

const RANDOM_CHARACTERS = 43;

/** `scs_` and 43 random characters of base 62: 256 bits. */
export function newClientSecret(): string {
  return `scs_${randomText(RANDOM_CHARACTERS)}`;
}

/** What a secret is kept as: SHA-256. It is random, so a slow hash would slow down nobody but us. */
export function clientSecretDigest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
