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
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { echoDescriptorSet, startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { GATEWAY_SECRET, startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';

const descriptorSet = fileURLToPath(new URL('../../../../libs/contract/descriptors/sluice.binpb', import.meta.url));
const { sluice } = loadPackageDefinition(
  loadSync('sluice/user/v1/user.proto', { includeDirs: [protoRoot], keepCase: true, longs: String, defaults: true }),
) as unknown as { sluice: { user: { v1: Record<string, { service: ServiceDefinition }> } } };

/** Watches that the gateway has opened. Nothing is said on them unless a test says it: to the gateway they are lost. */
let watches: ServerWritableStream<unknown, object>[];
/** Tokens that were asked about. */
let asked: string[];
let ended: Set<string>;
let answers: boolean;

const watch: handleServerStreamingCall<unknown, object> = (call) => void watches.push(call);
const introspect: handleUnaryCall<{ token: string }, object> = ({ request: { token } }, callback) => {
  asked.push(token);
  if (answers) callback(null, { active: !ended.has(token) });
  else callback({ code: status.INTERNAL });
};

let echo: EchoServer;
let issuer: TestIssuer;
let service: Server;
let address: string;
beforeAll(async () => {
  [echo, issuer] = [await startEchoServer(), await startIssuer()];
  service = new Server();
  service.addService(sluice.user.v1['RevocationService']!.service, { WatchRevocations: watch });
  service.addService(sluice.user.v1['OAuthService']!.service, { Introspect: introspect });
  address = await new Promise((resolve, reject) =>
    service.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(`127.0.0.1:${port}`),
    ),
  );
});
beforeEach(() => {
  [watches, asked, ended, answers] = [[], [], new Set(), true];
});
afterAll(() => {
  service?.forceShutdown();
  issuer?.stop();
  echo?.stop();
});

async function started(whenLost: 'serve' | 'introspect'): Promise<TestGateway> {
  const gateway = await startTestGateway('', {
    upstreams: [
      { name: 'echo', address: `127.0.0.1:${echo.port}`, descriptor_set: echoDescriptorSet },
      {
        name: 'user',
        address,
        descriptor_set: descriptorSet,
        services: ['sluice.user.v1.OAuthService'],
        trusted: true,
      },
    ],
    auth: { ...issuer.auth, revocations: { upstream: 'user', when_lost: whenLost } },
  });
  gateway.runtime.revocations!.start();
  await vi.waitFor(() => {
    expect(gateway.runtime.verifier!.ready()).toBe(true);
    expect(watches).toHaveLength(1);
  });
  return gateway;
}

async function stop(gateway: TestGateway): Promise<void> {
  gateway.runtime.revocations!.stop();
  await gateway.stop();
}

async function call(gateway: TestGateway, token: string): Promise<string> {
  const answer = await fetch(`${gateway.origin}/v1/metadata`, { headers: { authorization: `Bearer ${token}` } });
  const { code } = (await answer.json()) as { code?: string };
  return `${answer.status} ${code ?? ''}`.trim();
}

it('the stream is asked for with the secret of the service that tells', async () => {
  const gateway = await started('serve');
  expect(watches[0]!.metadata.get('x-sluice-gateway-secret')).toEqual([gatewaySecretFor('user', GATEWAY_SECRET)]);
  await stop(gateway);
});

it('introspect: while the stream is lost each token is asked about, once a second at most', async () => {
  const gateway = await started('introspect');
  const [alive, over] = [issuer.token(), issuer.token()];
  ended.add(over);
  expect([await call(gateway, alive), await call(gateway, over)]).toEqual(['200', '401 SESSION_REVOKED']);
  expect([await call(gateway, alive), await call(gateway, over)]).toEqual(['200', '401 SESSION_REVOKED']);
  expect(asked).toEqual([alive, over]);
  // Its session ends: the verdict before serves a second more.
  ended.add(alive);
  await vi.waitFor(async () => expect(await call(gateway, alive)).toBe('401 SESSION_REVOKED'), { timeout: 5000 });
  await stop(gateway);
});

it('introspect: a token that nobody can tell about is not let in', async () => {
  const gateway = await started('introspect');
  answers = false;
  expect(await call(gateway, issuer.token())).toBe('503 UNAVAILABLE');
  await stop(gateway);
});

it('introspect: once the stream speaks nothing is asked, and what it says counts', async () => {
  const gateway = await started('introspect');
  const [alive, over] = [issuer.token(), issuer.token({ sid: 'over' })];
  watches[0]!.write({ revocations: [{ session_id: 'over', until_ms: Date.now() + 60_000 }], cursor: '1' });
  await vi.waitFor(() => expect(gateway.runtime.revocations!.fresh).toBe(true));
  expect([await call(gateway, alive), await call(gateway, over)]).toEqual(['200', '401 SESSION_REVOKED']);
  expect(asked).toEqual([]);
  await stop(gateway);
});

it('serve: while the stream is lost what is known counts', async () => {
  const gateway = await started('serve');
  const token = issuer.token();
  ended.add(token);
  expect(gateway.runtime.revocations!.fresh).toBe(false);
  expect(await call(gateway, token)).toBe('200');
  expect(asked).toEqual([]);
  await stop(gateway);
});
