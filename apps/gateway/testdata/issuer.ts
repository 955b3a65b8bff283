import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Who signs access tokens and publishes the key. */
export interface TestIssuer {
  /** For `auth` of the gateway's configuration. */
  readonly auth: object;
  /** A token of a minute, but for what `claims` say; a forged one is signed by another key. */
  token(claims?: object, forged?: boolean): string;
  stop(): void;
}

export async function startIssuer(): Promise<TestIssuer> {
  const [own, stranger] = [0, 1].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  const jwk = { ...own!.publicKey.export({ format: 'jwk' }), kid: '1', alg: 'ES256', use: 'sig' };
  const server = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    auth: {
      mode: 'jwt',
      typ: 'at+jwt',
      keys: { jwks_url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` },
    },
    token(claims = {}, forged = false) {
      const all = { sub: 'ann', sid: crypto.randomUUID(), exp: Math.floor(Date.now() / 1000) + 60, ...claims };
      const signed = `${part({ alg: 'ES256', kid: '1', typ: 'at+jwt' })}.${part(all)}`;
      const key = forged ? stranger! : own!;
      const signature = sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
      return `${signed}.${signature.toString('base64url')}`;
    },
    stop: () => void server.close(),
  };
}
