import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { echoDescriptorSet, type EchoServer, startEchoServer } from '../apps/gateway/testdata/echo-server.js';
import { openFolder, type StandaloneGateway, startGateway } from './standalone-gateway.js';

/** The gateway alone, before a service and an identity provider that have never heard of it. */

type Algorithm = 'RS256' | 'ES256' | 'EdDSA';
const keyPairs = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

/** A key as it is published, and the half that is not. */
interface SigningKey {
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly alg: Algorithm;
  readonly privateKey: KeyObject;
}

/** A JWT in compact form (RFC 7515 section 7.1). */
function signed({ jwk, alg, privateKey }: SigningKey, claims: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg, kid: jwk['kid'], typ: 'JWT' })}.${encode(claims)}`;
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
  return `${text}.${sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(text), key).toString('base64url')}`;
}

/** An OpenID provider as far as a resource server sees it: its metadata and its keys. */
class Issuer {
  keys: SigningKey[] = [];
  /** What happens instead of an answer. */
  trouble: ((response: ServerResponse) => void) | undefined;
  fetches = 0;
  /** `issuer` of its metadata, when it is not its own. */
  claimed: string | undefined;
  private readonly made = new Map<string, SigningKey>();

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<Issuer> {
    const server = createServer((request, response) => issuer.answer(request.url!, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = new Issuer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/realms/acme`);
    return issuer;
  }

  /** Makes a key and publishes it. */
  addKey(kid: string, alg: Algorithm): void {
    const { publicKey, privateKey } = keyPairs[alg]();
    const key = { jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, alg, privateKey };
    this.keys.push(key);
    this.made.set(kid, key);
  }

  token(kid: string, claims: Record<string, unknown> = {}): string {
    const iat = Math.floor(Date.now() / 1000);
    const own = { iss: this.url, aud: ['echo', 'account'], sub: 'ann@example.com', iat, exp: iat + 300 };
    return signed(this.made.get(kid)!, { ...own, jti: randomUUID(), ...claims });
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private answer(path: string, response: ServerResponse): void {
    this.fetches += 1;
    if (this.trouble) return this.trouble(response);
    const base = new URL(this.url).pathname;
    const documents: Record<string, unknown> = {
      [`${base}/.well-known/openid-configuration`]: { issuer: this.claimed ?? this.url, jwks_uri: `${this.url}/certs` },
      [`${base}/certs`]: { keys: this.keys.map(({ jwk }) => jwk) },
    };
    const document = documents[path];
    response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document ?? {}));
  }
}

const down = (response: ServerResponse) => void response.destroy();

let echo: EchoServer;
let issuer: Issuer;
const folder = openFolder();
const gateways: StandaloneGateway[] = [];

async function gatewayBefore(keys = ''): Promise<StandaloneGateway> {
  folder.write(
    'my.yaml',
    `upstreams:
  - name: echo
    address: 127.0.0.1:${echo.port}
    descriptor_set: ${echoDescriptorSet}
    access:
      - { selector: echo.v1.EchoService.Echo, public: true }
      - { selector: echo.v1.EchoService.Count, roles: [counter] }
auth:
  mode: jwt
  issuer: ${issuer.url}
  audience: echo
  algorithms: [RS256, ES256, EdDSA]
  claims: { roles: realm_access.roles }
${keys}`,
  );
  const gateway = await startGateway(folder.path);
  gateways.push(gateway);
  return gateway;
}

beforeAll(async () => {
  echo = await startEchoServer();
  issuer = await Issuer.start();
  issuer.addKey('rsa', 'RS256');
  issuer.addKey('ec', 'ES256');
  issuer.addKey('ed', 'EdDSA');
});
afterEach(async () => {
  for (const gateway of gateways.splice(0)) expect(await gateway.stop()).toBe(0);
  issuer.trouble = undefined;
  issuer.claimed = undefined;
});
afterAll(() => {
  issuer?.stop();
  echo?.stop();
  folder.remove();
});

const call = async (gateway: StandaloneGateway, path: string, token?: string) => {
  const response = await fetch(gateway.origin + path, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  return { status: response.status, fields: response.headers, text: await response.text() };
};
const statusOf = async (gateway: StandaloneGateway, token: string) =>
  (await call(gateway, '/v1/metadata', token)).status;
const ready = async (gateway: StandaloneGateway) => (await fetch(`${gateway.adminOrigin}/readyz`)).status;

describe.each([
  ['found by the metadata of the issuer', () => ''],
  ['named by their URL', () => `  keys: { jwks_url: '${issuer.url}/certs' }\n`],
])('keys %s', (_, keys) => {
  it('of each kind make tokens good, and the service learns who calls', async () => {
    const gateway = await gatewayBefore(keys());
    await expect.poll(() => ready(gateway)).toBe(200);
    for (const kid of ['rsa', 'ec', 'ed']) {
      const token = issuer.token(kid, { realm_access: { roles: ['counter', 'reader'] }, scope: 'read' });
      const { status, text } = await call(gateway, '/v1/metadata', token);
      expect(status, text).toBe(200);
      expect(JSON.parse(text).metadata).toMatchObject({
        'x-sluice-subject': 'ann@example.com',
        'x-sluice-roles': 'counter,reader',
        'x-sluice-scope': 'read',
      });
      expect(text).not.toContain(token);
      expect((await call(gateway, '/v1/count/2', token)).status).toBe(200);
    }
    expect((await call(gateway, '/v1/count/2', issuer.token('ec'))).status).toBe(403);
    expect((await call(gateway, '/v1/echo/ann')).status).toBe(200);
    const without = await call(gateway, '/v1/metadata');
    expect(without.status).toBe(401);
    expect(without.fields.get('www-authenticate')).toContain('Bearer');
  });
});

it('refuses tokens that are for others, of others, old or unsigned', async () => {
  const gateway = await gatewayBefore();
  await expect.poll(() => ready(gateway)).toBe(200);
  const [header, payload] = issuer.token('ec').split('.') as [string, string];
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const bad = [
    issuer.token('ec', { aud: 'other' }),
    issuer.token('ec', { iss: 'https://evil.example' }),
    issuer.token('ec', { exp: Math.floor(Date.now() / 1000) - 1 }),
    `${header}.${payload}.`,
    `${none}.${payload}.`,
    `${header}.${payload}.${'A'.repeat(86)}`,
  ];
  const before = issuer.fetches;
  for (const token of bad) expect(await statusOf(gateway, token), token).toBe(401);
  expect(issuer.fetches - before).toBeLessThanOrEqual(2);
});

it('follows the rotation of keys, and lets go of a key that is withdrawn', async () => {
  const gateway = await gatewayBefore();
  await expect.poll(() => ready(gateway)).toBe(200);
  const old = issuer.token('ec');
  expect(await statusOf(gateway, old)).toBe(200);
  const keys = issuer.keys;
  issuer.keys = keys.filter(({ jwk }) => jwk['kid'] !== 'ec');
  issuer.addKey('ec-2', 'ES256');
  const fresh = issuer.token('ec-2');
  // Asked for at once, and again when the cool-down is over.
  await expect.poll(() => statusOf(gateway, fresh), { timeout: 20_000 }).toBe(200);
  expect(await statusOf(gateway, old)).toBe(401);
  issuer.keys = keys;
});

it('goes on with the keys it knows while the issuer is down', async () => {
  const gateway = await gatewayBefore();
  await expect.poll(() => ready(gateway)).toBe(200);
  issuer.trouble = down;
  for (const kid of ['rsa', 'ec', 'ed']) expect(await statusOf(gateway, issuer.token(kid))).toBe(200);
  expect(await ready(gateway)).toBe(200);
});

it.each<[string, (response: ServerResponse) => void]>([
  ['down', down],
  ['mute', () => undefined],
  ['answering garbage', (response) => void response.end('<html>')],
])('starts while the issuer is %s: 503 at once, the reason in the log, and well in seconds', async (_, trouble) => {
  issuer.trouble = trouble;
  const gateway = await gatewayBefore();
  const token = issuer.token('ec');
  expect(await ready(gateway)).toBe(503);
  const began = performance.now();
  const answer = await call(gateway, '/v1/metadata', token);
  expect(answer.status).toBe(503);
  expect(answer.fields.get('retry-after')).toBeTruthy();
  expect(performance.now() - began).toBeLessThan(3000);
  expect((await call(gateway, '/v1/echo/ann')).status).toBe(200);
  await expect.poll(() => gateway.log(), { timeout: 10_000 }).toContain('could not be fetched');
  issuer.trouble = undefined;
  await expect.poll(() => statusOf(gateway, token), { timeout: 20_000 }).toBe(200);
});

it('takes no keys of an issuer whose metadata are another’s', async () => {
  issuer.claimed = 'https://evil.example';
  const gateway = await gatewayBefore();
  expect(await statusOf(gateway, issuer.token('ec'))).toBe(503);
  await expect.poll(() => gateway.log()).toContain('its metadata are those of https://evil.example');
});
