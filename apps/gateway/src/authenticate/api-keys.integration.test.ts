import { fileURLToPath } from 'node:url';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { gatewaySecretFor } from '@sluice/config';
import { protoRoot } from '@sluice/contract';
import { apiKeyDigest, newApiKey } from '@sluice/identity';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { echoDescriptorSet, startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { GATEWAY_SECRET, startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';

const descriptorSet = fileURLToPath(new URL('../../../../libs/contract/descriptors/sluice.binpb', import.meta.url));
const files = ['sluice/user/v1/user.proto', 'sluice/machines/v1/machines.proto'];
const { sluice } = loadPackageDefinition(
  loadSync(files, { includeDirs: [protoRoot], keepCase: true, longs: String, defaults: true }),
) as unknown as Record<'sluice', Record<string, { v1: Record<string, { service: ServiceDefinition }> }>>;

interface Known {
  readonly id: string;
  state: string;
  readonly more?: object;
}

/** What the service knows, by the digest of the text, and what it was asked. */
let known: Map<string, Known>;
let asked: string[];
let answers: boolean;
let watches: ServerWritableStream<unknown, object>[];
let secrets: unknown[];

const verify: handleUnaryCall<{ digest: Buffer }, object> = ({ request, metadata }, callback) => {
  const digest = request.digest.toString('hex');
  asked.push(digest);
  secrets.push(metadata.get('x-sluice-gateway-secret')[0]);
  const key = known.get(digest);
  if (!answers) callback({ code: status.UNAVAILABLE });
  else if (!key) callback(null, { state: 'STATE_UNSPECIFIED' });
  else callback(null, { state: key.state, key_id: key.id, subject: 'ann', tenant: 'acme', ...key.more });
};
const watch: handleServerStreamingCall<unknown, object> = (call) => {
  watches.push(call);
  call.write({ revocations: [], cursor: '1' });
};

let echo: EchoServer;
let issuer: TestIssuer;
let service: Server;
let address: string;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  service = new Server();
  service.addService(sluice['user']!.v1['RevocationService']!.service, { WatchRevocations: watch });
  service.addService(sluice['machines']!.v1['ApiKeyVerificationService']!.service, { VerifyApiKey: verify });
  address = await new Promise((resolve, reject) =>
    service.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(`127.0.0.1:${port}`),
    ),
  );
});
let gateways: TestGateway[];
beforeEach(() => {
  [known, asked, answers, watches, secrets, gateways] = [new Map(), [], true, [], [], []];
});
afterEach(async () => {
  for (const gateway of gateways) {
    gateway.runtime.revocations?.stop();
    await gateway.stop();
  }
});
afterAll(() => {
  service?.forceShutdown();
  issuer?.stop();
  echo?.stop();
});

const CHAT = {
  ...{ selector: 'echo.v1.EchoService.Metadata', get: '/v1/metadata' },
  additional_bindings: [{ post: '/v1/chat/completions', body: '*' }],
};

async function start(over: Record<string, unknown> = {}, apiKeys: object | null = {}, echoOver: object = {}) {
  const gateway = await startTestGateway('', {
    upstreams: [
      {
        ...{ name: 'echo', address: `127.0.0.1:${echo.port}`, descriptor_set: echoDescriptorSet },
        ...{ http: { rules: [CHAT] }, ignore_unknown_members: true, ...echoOver },
      },
      {
        name: 'user',
        address,
        descriptor_set: descriptorSet,
        services: ['sluice.user.v1.OAuthService'],
        trusted: true,
      },
    ],
    auth: {
      ...issuer.auth,
      revocations: { upstream: 'user' },
      ...(apiKeys && { api_keys: { upstream: 'user', ...apiKeys } }),
    },
    ...over,
  });
  gateways.push(gateway);
  gateway.runtime.revocations!.start();
  await vi.waitFor(() => {
    expect(gateway.runtime.verifier!.ready()).toBe(true);
    expect(gateway.runtime.revocations!.fresh).toBe(true);
  });
  return gateway;
}

function newKey(more: object = {}, state = 'STATE_GOOD'): { text: string; key: Known } {
  const text = newApiKey('live');
  const key = { id: `key-${known.size + 1}`, state, more };
  known.set(apiKeyDigest(text).toString('hex'), key);
  return { text, key };
}
function tell(id: string, changed = false): void {
  for (const each of watches)
    each.write({ revocations: [{ session_id: `key:${id}`, until_ms: '0', changed }], cursor: '2' });
}
async function call(gateway: TestGateway, headers: Record<string, string>, path = '/v1/metadata') {
  const answer = await fetch(`${gateway.origin}${path}`, { headers });
  const body = (await answer.json()) as { code?: string; detail?: string; metadata?: Record<string, string> };
  return {
    status: answer.status,
    code: body.code,
    detail: body.detail,
    headers: answer.headers,
    metadata: body.metadata,
  };
}
const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
const said = ({ status: code, code: problem }: { status: number; code: string | undefined }) =>
  `${code} ${problem ?? ''}`.trim();

describe('a key', () => {
  it.each(protocols)('is taken as bearer token and as x-api-key, and goes no further: %s', async (protocol) => {
    const gateway = await start({}, {}, { request_headers: ['x-other'], forward_authorization: true });
    const { text, key } = newKey({
      roles: ['service'],
      scope: 'read',
      account: 'acc',
      restrictions: { models: ['small'] },
    });
    for (const fields of [{ authorization: `bearer  ${text}` }, { 'x-api-key': text }, { 'X-Api-Key': text }]) {
      const written = protocol.startsWith('HTTP/2')
        ? Object.fromEntries(Object.entries(fields).map(([a, b]) => [a.toLowerCase(), b]))
        : fields;
      const answer = await ask(gateway.port, protocol, {
        path: '/v1/metadata',
        fields: { ...written, 'x-sluice-key': 'forged', 'grpc-metadata-x-api-key': text } as Record<string, string>,
      });
      const { metadata } = answer.json as unknown as { metadata: Record<string, string> };
      expect(metadata).toMatchObject({
        ...{
          'x-sluice-subject': 'ann',
          'x-sluice-tenant': 'acme',
          'x-sluice-roles': 'service',
          'x-sluice-scope': 'read',
        },
        ...{ 'x-sluice-key': key.id, 'x-sluice-account': 'acc', 'x-sluice-models': 'small' },
      });
      expect(JSON.stringify(metadata)).not.toContain(text.slice(-20));
    }
    expect(asked).toHaveLength(1);
    expect(secrets).toEqual([gatewaySecretFor('user', GATEWAY_SECRET)]);
  });

  it('is one of one credential, also where two are equal, and only where one is looked at', async () => {
    const gateway = await start({}, {}, { access: [{ selector: 'echo.v1.EchoService.Echo', public: true }] });
    const { text } = newKey();
    for (const headers of [
      { ...bearer(text), 'x-api-key': text },
      { ...bearer(issuer.token()), 'x-api-key': text },
      { authorization: 'Basic eDp5', 'x-api-key': text },
    ]) {
      expect(said(await call(gateway, headers))).toBe('400 AUTHORIZATION_DUPLICATE');
    }
    const twice = await ask(gateway.port, protocols[0]!, {
      path: '/v1/metadata',
      fields: { 'x-api-key': [text, text] } as never,
    });
    expect(twice.status).toBe(400);
    expect(said(await call(gateway, { 'x-api-key': '' }))).toBe('400 AUTHORIZATION_MALFORMED');
    expect(said(await call(gateway, {}))).toBe('401 UNAUTHENTICATED');
    expect(asked).toEqual([]);
  });

  it('that is none, or nobody’s, or of another environment, is refused; only the second is asked about', async () => {
    const gateway = await start({}, { environments: ['live'] });
    for (const text of ['slc_live_x', newApiKey('live').slice(0, -1), newApiKey('test'), issuer.token()]) {
      expect(said(await call(gateway, { 'x-api-key': text }))).toBe('401 TOKEN_INVALID');
    }
    expect(asked).toEqual([]);
    const refused = await call(gateway, bearer(newApiKey('live')));
    expect(said(refused)).toBe('401 TOKEN_INVALID');
    expect(refused.headers.get('www-authenticate')).toContain('invalid_token');
    expect(asked).toHaveLength(1);
  });

  it('is looked up once for many callers', async () => {
    const gateway = await start();
    const { text } = newKey();
    const all = await Promise.all(Array.from({ length: 50 }, () => call(gateway, bearer(text))));
    expect(new Set(all.map(said))).toEqual(new Set(['200']));
    expect(asked).toHaveLength(1);
  });

  it('that nobody has counts as a guess of its address, and not against who has one', async () => {
    const gateway = await start({ limits: { guess_guard: { limit: 5, window: '1h' } } });
    const { text } = newKey();
    expect(said(await call(gateway, bearer(text)))).toBe('200');
    const guesses = [];
    for (let guess = 0; guess < 8; guess++) guesses.push(said(await call(gateway, { 'x-api-key': newApiKey('live') })));
    expect(guesses).toEqual([...Array(5).fill('401 TOKEN_INVALID'), ...Array(3).fill('429 RATE_LIMIT_EXCEEDED')]);
    expect(asked).toHaveLength(6);
    expect(said(await call(gateway, bearer(text)))).toBe('200');
  });

  it('goes on while the service is away; one that is not known is not let in', async () => {
    const gateway = await start();
    const { text } = newKey();
    expect(said(await call(gateway, bearer(text)))).toBe('200');
    answers = false;
    expect(said(await call(gateway, bearer(text)))).toBe('200');
    expect(said(await call(gateway, bearer(newKey().text)))).toBe('503 UNAVAILABLE');
  });

  it('is refused at every gateway once it is told to be revoked, with its open streams; changed it is asked for again', async () => {
    const [one, two] = [await start(), await start()];
    const { text, key } = newKey({ roles: ['a'] });
    for (const gateway of [one, two]) expect(said(await call(gateway, bearer(text)))).toBe('200');
    const stream = await fetch(`${one.origin}/v1/count/1000000000`, { headers: bearer(text) });
    const reading = stream.text();
    Object.assign(key.more!, { roles: ['b'] });
    tell(key.id, true);
    for (const gateway of [one, two]) {
      await vi.waitFor(async () => expect((await call(gateway, bearer(text))).metadata!['x-sluice-roles']).toBe('b'));
    }
    key.state = 'STATE_REVOKED';
    tell(key.id);
    for (const gateway of [one, two]) {
      await vi.waitFor(async () => expect(said(await call(gateway, bearer(text)))).toBe('401 KEY_ENDED'));
    }
    expect(await reading.catch(() => 'cut off')).toMatch(/KEY_ENDED|cut off/);
  });

  it.each(['STATE_REVOKED', 'STATE_EXPIRED', 'STATE_OWNER_LOCKED', 'STATE_TENANT_CLOSED'])(
    '%s is told so',
    async (state) => {
      const gateway = await start({ limits: { guess_guard: { limit: 1, window: '1h' } } });
      const { text } = newKey({}, state);
      // No guess: it was good once.
      for (let time = 0; time < 3; time++) expect(said(await call(gateway, bearer(text)))).toBe('401 KEY_ENDED');
    },
  );

  it('is used as far as its restrictions go', async () => {
    const gateway = await start({ trusted_proxies: ['127.0.0.1'] });
    const { text } = newKey({
      restrictions: { methods: ['echo.v1.EchoService.Metadata'], networks: ['192.0.2.0/24', '2001:db8::/32'] },
    });
    const from = (ip: string) => ({ ...bearer(text), 'x-forwarded-for': ip });
    for (const ip of ['192.0.2.9', '2001:db8::1', '::ffff:192.0.2.9'])
      expect(said(await call(gateway, from(ip)))).toBe('200');
    for (const ip of ['192.0.3.9', '2001:db9::1']) {
      expect(said(await call(gateway, from(ip)))).toBe('403 PERMISSION_DENIED');
    }
    const other = await call(gateway, from('192.0.2.9'), '/v1/count/1');
    expect([said(other), other.detail]).toEqual(['403 PERMISSION_DENIED', 'This API key may not call this method.']);
  });

  it('has limits of its own, which callers without one do not meet', async () => {
    const policy = { name: 'by-key', dimensions: ['key'], limit: 2, window: '1h', algorithm: 'sliding_window' };
    const gateway = await start({ limits: { policies: [policy] } });
    const [first, second] = [newKey().text, newKey().text];
    const codes = [];
    for (const text of [first, first, first, second]) codes.push(said(await call(gateway, bearer(text))));
    expect(codes).toEqual(['200', '200', '429 RATE_LIMIT_EXCEEDED', '200']);
    for (let time = 0; time < 4; time++) expect(said(await call(gateway, bearer(issuer.token())))).toBe('200');
    const refused = await fetch(`${gateway.origin}/v1/metadata`, { headers: bearer(first) });
    expect(await refused.json()).toMatchObject({ details: { blocked_by: 'key', policy: 'by-key' } });
  });

  it('may not call what is for those who have signed in', async () => {
    const gateway = await start({}, {}, { access: [{ selector: 'echo.v1.EchoService.Metadata', no_keys: true }] });
    expect(said(await call(gateway, bearer(newKey().text)))).toBe('403 PERMISSION_DENIED');
    expect(said(await call(gateway, bearer(issuer.token())))).toBe('200');
  });
});

it('the official client of OpenAI comes with a key, and is refused with its second call once it is revoked', async () => {
  const gateway = await start();
  const { text, key } = newKey();
  const client = new OpenAI({ apiKey: text, baseURL: `${gateway.origin}/v1`, maxRetries: 0 });
  const complete = () =>
    client.chat.completions.create({ model: 'small', messages: [{ role: 'user', content: 'hello' }] });
  const first = (await complete()) as unknown as { metadata: Record<string, string> };
  expect(first.metadata['x-sluice-key']).toBe(key.id);
  key.state = 'STATE_REVOKED';
  tell(key.id);
  await vi.waitFor(async () => {
    const error = await complete().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    expect(error).toMatchObject({ status: 401 });
  });
});

it('without `api_keys` x-api-key is a field like others, and a key is no token', async () => {
  const gateway = await start({}, null, { request_headers: ['x-api-key'] });
  const { text } = newKey();
  const answer = await call(gateway, { ...bearer(issuer.token()), 'x-api-key': 'for the service' });
  expect(answer.metadata!['x-api-key']).toBe('for the service');
  expect(said(await call(gateway, bearer(text)))).toBe('401 TOKEN_INVALID');
  expect(said(await call(gateway, { 'x-api-key': text }))).toBe('401 UNAUTHENTICATED');
  expect(asked).toEqual([]);
});
