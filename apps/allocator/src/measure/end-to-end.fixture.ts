/** The allocator as its clients meet it: over gRPC, and over REST through the gateway. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { EmbeddedPostgres } from '@sluice/launch';
import { freePort, startSystem } from '@sluice/testing';
import { Channel, type CallEvents, type Outcome } from '@sluice/wire';
import { CAPACITY, prepare } from './contestants.fixture.ts';
import { measure, print, treeCpu } from './meter.fixture.ts';

const nodes = Array.from({ length: 16 }, (_, index) => `node-${String(index).padStart(3, '0')}`).join();
/** Without leases, which the figures of before did not have; one costs a row more. */
const leases = { ALLOC_LEASE_DEFAULT_SECONDS: '0', SHUTDOWN_DELAY_SECONDS: '0' };
const loads = [
  [256, 30_000],
  [64, 20_000],
  [1, 500],
] as const;

/** The service in a process of its own, called by `@sluice/wire`, whose calls cost a few microseconds. */
export async function overGrpc(postgres: EmbeddedPostgres): Promise<void> {
  const url = postgres.url('postgres');
  await prepare(url, 16);
  const port = await freePort();
  const environment = {
    ...process.env,
    ...leases,
    LOG_LEVEL: 'error',
    ALLOCATOR_PORT: String(port),
    ALLOCATOR_ADMIN_PORT: '0',
  };
  const service: ChildProcess = spawn(process.execPath, ['apps/allocator/dist/main.js'], {
    stdio: 'inherit',
    env: { ...environment, ALLOCATOR_DATABASE_URL: url, NODES: nodes, NODE_BUDGET: String(CAPACITY) },
  });
  const channel = new Channel(`127.0.0.1:${port}`, { connectionsPerAddress: 1 });
  const method = channel.method('/sluice.allocator.v1.AllocatorService/Allocate');
  const identity: [string, string][] = [
    ['x-sluice-subject', 'alice'],
    ['x-sluice-tenant', 'acme'],
  ];
  const allocate = () =>
    new Promise<void>((resolve, reject) => {
      const events: CallEvents = {
        onHeaders: () => undefined,
        onMessage: () => undefined,
        onEnd: (outcome: Outcome) => (outcome.code === 0 ? resolve() : reject(new Error(outcome.message))),
      };
      channel.unary(method, identity, allocateRequest(), { deadline: Date.now() + 10_000 }, events);
    });
  try {
    while (!(await succeeds(allocate))) await delay(50);
    const contestant = { name: 'gRPC', allocate, close: () => Promise.resolve() };
    await measure(contestant, postgres.pid, 256, 10_000);
    for (const [inFlight, calls] of loads) {
      const before = treeCpu(service.pid as number);
      print(`gRPC, ${inFlight} in flight`, await measure(contestant, postgres.pid, inFlight, calls));
      console.log(`  allocator ${perCall(treeCpu(service.pid as number) - before, calls)} of CPU per call`);
    }
  } finally {
    await channel.close(100);
    service.kill('SIGTERM');
    await once(service, 'exit');
  }
}

/** `AllocateRequest {request_id, token_count: 7}` in protobuf. */
function allocateRequest(): Buffer {
  const id = randomUUID();
  return Buffer.concat([Buffer.from([0x0a, id.length]), Buffer.from(id), Buffer.from([0x10, 7])]);
}

/**
 * The whole system as `npm start` makes it, with rate limits off, called over HTTP/1.1 by a client that only writes and finds
 * the end of an answer.
 */
export async function overRest(allocators: number): Promise<void> {
  const system = await startSystem({
    durable: true,
    replicas: { allocator: allocators },
    env: { ...leases, NODES: nodes, NODE_BUDGET: String(CAPACITY), RATE_LIMIT_ENABLED: 'false', LOG_LEVEL: 'error' },
  });
  try {
    const token = await signIn(system.baseUrl);
    const postgres = system.system.database?.server.pid as number;
    const names = system.system.processes.map(({ name }) => name).filter((name) => /^(gateway|allocator)/.test(name));
    const cpu = () => names.map((name) => treeCpu(system.process(name).pid as number));
    const port = Number(new URL(system.baseUrl).port);
    for (const [inFlight, calls] of [[256, 10_000] as const, ...loads]) {
      const client = restClient(port, token, inFlight);
      const before = cpu();
      const measured = await measure(client, postgres, inFlight, calls);
      const costs = cpu().map((seconds, index) => `${names[index]} ${perCall(seconds - before[index]!, calls)}`);
      print(`REST, ${allocators === 1 ? '' : `${allocators} allocators, `}${inFlight} in flight`, measured);
      console.log(`  ${costs.join(', ')} of CPU per call`);
      await client.close();
    }
  } finally {
    await system.stop();
  }
}

async function signIn(baseUrl: string): Promise<string> {
  const account = { email: `${randomUUID()}@example.com`, password: 'correct horse battery staple' };
  const post = async (path: string) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${baseUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(account) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { access_token: string };
  };
  await post('/api/v1/auth/register');
  return (await post('/api/v1/auth/login')).access_token;
}

/** Keep-alive connections, each with one call at a time. */
function restClient(port: number, token: string, connections: number) {
  const sockets: Socket[] = [];
  const free = Array.from({ length: connections }, () => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    sockets.push(socket);
    return socket;
  });
  const head = `POST /api/v1/alloc HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n`;
  return {
    name: 'REST',
    allocate: () =>
      new Promise<void>((resolve, reject) => {
        const socket = free.pop()!;
        const body = `{"request_id":"${randomUUID()}","token_count":7}`;
        let answer = '';
        const onData = (chunk: Buffer) => {
          answer += chunk.toString('latin1');
          const body = answer.indexOf('\r\n\r\n');
          const length = /content-length: (\d+)/i.exec(answer);
          if (body < 0 || !length || answer.length < body + 4 + Number(length[1])) return;
          socket.off('data', onData);
          free.push(socket);
          if (answer.startsWith('HTTP/1.1 200')) resolve();
          else reject(new Error(answer.slice(0, 300)));
        };
        socket.on('data', onData);
        socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
      }),
    close: () => {
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    },
  };
}

const perCall = (seconds: number, calls: number) => `${((seconds * 1e6) / calls).toFixed(0)} µs`;

const succeeds = (call: () => Promise<unknown>) =>
  call().then(
    () => true,
    () => false,
  );
