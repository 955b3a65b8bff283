import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';

/** A public key on P-256 as it stands in the key set. */
export interface PublicKey {
  readonly kid: string;
  readonly x: string;
  readonly y: string;
}

export interface SigningKey extends PublicKey {
  readonly privateKey: KeyObject;
}

/** A new ES256 key; its `kid` is its JWK thumbprint (RFC 7638). */
export function generateSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y } = publicKey.export({ format: 'jwk' }) as { x: string; y: string };
  const canonical = JSON.stringify({ crv: 'P-256', kty: 'EC', x, y });
  return { kid: createHash('sha256').update(canonical).digest('base64url'), x, y, privateKey };
}

export function exportPrivateKey(key: SigningKey): Buffer {
  return key.privateKey.export({ format: 'der', type: 'pkcs8' });
}

export function importPrivateKey(der: Buffer): KeyObject {
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}
