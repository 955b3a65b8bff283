import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { JsonWebKeySet } from './key-source.js';

type Json = Readonly<Record<string, unknown>>;

/** A key pair of an issuer that exists only in a test. */
export interface TestKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: Json;
}

const make = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

export function testKey(kid: string, alg: keyof typeof make = 'ES256'): TestKey {
  const { privateKey, publicKey } = make[alg]();
  return { kid, alg, privateKey, publicKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } };
}

export const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs whatever it is told to, also what no issuer would. */
export function signToken(key: TestKey, claims: Json, header: Json = {}): string {
  const signed = `${encode({ alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header })}.${encode(claims)}`;
  const data = Buffer.from(signed);
  const signature =
    key.alg === 'EdDSA'
      ? sign(null, data, key.privateKey)
      : sign('sha256', data, {
          key: key.privateKey,
          dsaEncoding: 'ieee-p1363',
          ...(key.alg === 'PS256' && { padding: 6, saltLength: 32 }),
        });
  return `${signed}.${signature.toString('base64url')}`;
}

export const keySet = (...keys: readonly TestKey[]): JsonWebKeySet => ({ keys: keys.map((key) => key.jwk) });
