/** A key set over HTTP and a token signed with its key, as the gateway's authentication asks for. Tells its port and the token. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: '1', alg: 'ES256', use: 'sig' }] });
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const claims = {
  iss: 'https://issuer.example',
  aud: 'bench',
  sub: 'ann',
  iat: now,
  exp: now + 86_400,
  tid: 'one',
  roles: ['user'],
};
const signed = `${part({ alg: 'ES256', kid: '1', typ: 'at+jwt' })}.${part(claims)}`;
const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
const token = `${signed}.${signature.toString('base64url')}`;

const server = createServer((_, response) => response.setHeader('content-type', 'application/json').end(keys));
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port, token }));
