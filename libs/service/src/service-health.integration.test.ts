import { once } from 'node:events';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type ClientReadableStream, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { createLogger } from '@sluice/telemetry';
import { afterEach, expect, it } from 'vitest';
import { startService, type StartedService } from './service.js';

class Empty {}

const packageOf = (name: string) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
const health = loadPackageDefinition(
  loadSync('health/v1/health.proto', {
    enums: String,
    defaults: true,
    includeDirs: [join(packageOf('grpc-health-check'), 'proto')],
  }),
) as unknown as { grpc: { health: { v1: { Health: new (...of: unknown[]) => HealthClient } } } };

interface HealthClient {
  Check(request: object, done: (error: ServiceError | null, answer: { status: string }) => void): void;
  Watch(request: object): ClientReadableStream<{ status: string }>;
  close(): void;
}

let started: StartedService | undefined;
afterEach(() => started?.stop());

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

it.each(['wire', 'grpc-js'] as const)('its health is known by every name that it has, on %s', async (server) => {
  const grpcPort = await freePort();
  started = await startService(
    {
      name: 'allocator',
      packages: [{ name: 'sluice.allocator.v1', file: 'sluice/allocator/v1/allocator.proto' }],
      grpcPort,
      adminPort: await freePort(),
      settings: {
        LOG_LEVEL: 'fatal',
        ADMIN_HOST: '127.0.0.1',
        SERVICE_HOST: '127.0.0.1',
        SHUTDOWN_DELAY_SECONDS: 0,
        SHUTDOWN_GRACE_SECONDS: 1,
        GATEWAY_SECRET: undefined,
        GRPC_REFLECTION: true,
        GRPC_SERVER: server,
      },
      module: { module: Empty },
      readiness: () => ({ check: () => Promise.resolve({}) }),
    },
    createLogger('allocator', 'fatal'),
  );
  const client = new health.grpc.health.v1.Health(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  const check = (service: string) =>
    new Promise<string | number>((resolve) => {
      client.Check({ service }, (error, answer) => resolve(error ? error.code : answer.status));
    });
  const watched = (service: string) => {
    const seen: string[] = [];
    const stream = client.Watch({ service });
    stream.on('data', ({ status }) => seen.push(status));
    stream.on('error', () => undefined);
    return { seen, stream };
  };
  try {
    const names = ['', 'allocator', 'sluice.allocator.v1.AllocatorService'];
    for (const name of names) expect(await check(name), name).toBe('SERVING');
    const NOT_FOUND = 5;
    const strange = ['user', 'sluice.allocator.v1', 'sluice.allocator.v1.AllocateRequest', 'AllocatorService'];
    for (const name of strange) expect(await check(name), name).toBe(NOT_FOUND);
    const watches = names.map(watched);
    // A name that is not known may be served some day: the stream stays open (health.proto).
    const unknown = watched('user');
    await expect.poll(() => watches.map(({ seen }) => seen)).toEqual(names.map(() => ['SERVING']));
    await expect.poll(() => unknown.seen).toEqual(['SERVICE_UNKNOWN']);
    started.drain();
    await expect.poll(() => watches.map(({ seen }) => seen)).toEqual(names.map(() => ['SERVING', 'NOT_SERVING']));
    for (const { stream } of [...watches, unknown]) stream.cancel();
  } finally {
    client.close();
  }
});
