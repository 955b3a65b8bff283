import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { DynamicModule } from '@nestjs/common';
import { createLogger } from '@sluice/telemetry';
import { afterEach, expect, it, vi } from 'vitest';
import { type ServiceDefinition, startService, type StartedService } from './service.js';

class Slow {}

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

async function takes(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

it.each(['wire', 'grpc-js'] as const)(
  'listens on %s when its modules have loaded what they need, not before',
  async (server) => {
    const [grpcPort, adminPort] = [await freePort(), await freePort()];
    let loaded = () => {};
    const loading = new Promise<void>((resolve) => (loaded = resolve));
    let asked = false;
    const keys = {
      async onModuleInit() {
        asked = true;
        await loading;
      },
    };
    const module: DynamicModule = { module: Slow, providers: [{ provide: 'KEYS', useValue: keys }] };
    const definition: ServiceDefinition = {
      name: 'slow',
      packages: [{ name: 'sluice.allocator.v1', file: 'sluice/allocator/v1/allocator.proto' }],
      grpcPort,
      adminPort,
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
      module,
      readiness: () => ({ check: () => Promise.resolve({}) }),
    };
    const starting = startService(definition, createLogger('slow', 'fatal'));
    await vi.waitFor(() => expect(asked).toBe(true));
    expect([await takes(grpcPort), await takes(adminPort)]).toEqual([false, false]);
    loaded();
    started = await starting;
    expect(await takes(grpcPort)).toBe(true);
    expect((await fetch(`http://127.0.0.1:${adminPort}/readyz`)).status).toBe(200);
    // While it drains, readiness is down and the port still takes calls.
    started.drain();
    expect((await fetch(`http://127.0.0.1:${adminPort}/readyz`)).status).toBe(503);
    expect(await takes(grpcPort)).toBe(true);
  },
);
