import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a refresh token names. */
export interface RefreshToken {
  readonly sessionId: string;
  readonly generation: number;
}

/**
 * A refresh token is `srt_` and the base64url form of
 *
 *   session id (16 bytes) | generation (4 bytes, big endian) | HMAC-SHA256 of both (32 bytes)
 *
 * The key of the MAC belongs to the session: HMAC-SHA256(refresh secret, session id). A forged token is refused without the
 * database, and the successor of a token is the same text on every replica. The token contains no dot, so it cannot be
 * taken for an access token.
 */
const PREFIX = 'srt_';
const SIGNED_BYTES = 20;
const TEXT = /^srt_[A-Za-z0-9_-]{70}$/;

export function formatRefreshToken(secret: Buffer, { sessionId, generation }: RefreshToken): string {
  const signed = Buffer.alloc(SIGNED_BYTES);
  signed.write(sessionId.replaceAll('-', ''), 'hex');
  signed.writeUInt32BE(generation, 16);
  return PREFIX + Buffer.concat([signed, macOf(secret, signed)]).toString('base64url');
}

/** @returns undefined for a text that this secret did not make */
export function parseRefreshToken(secret: Buffer, text: string): RefreshToken | undefined {
  if (!TEXT.test(text)) return undefined;
  const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url');
  // The last character carries four bits that decoding drops.
  if (PREFIX + bytes.toString('base64url') !== text) return undefined;
  const signed = bytes.subarray(0, SIGNED_BYTES);
  if (!timingSafeEqual(bytes.subarray(SIGNED_BYTES), macOf(secret, signed))) return undefined;
  const hex = signed.toString('hex', 0, 16);
  const sessionId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { sessionId, generation: signed.readUInt32BE(16) };
}

function macOf(secret: Buffer, signed: Buffer): Buffer {
  const sessionKey = createHmac('sha256', secret).update(signed.subarray(0, 16)).digest();
  return createHmac('sha256', sessionKey).update(signed).digest();
}
