/**
 * A REST call of echo size through the gateway, against the same route written by hand with NestJS and grpc-js.
 * CPU time per call; one gRPC service (grpc-js) stands behind both.
 *
 *   npm run bench gateway [rounds] [calls per round]
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contest, contestTable, freePort, httpLoad, type Contestant } from '@sluice/testing';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bench = join(root, 'bench');
const proto = join(root, 'proto');
const rounds = Number(process.argv[2] ?? 5);
const calls = Number(process.argv[3] ?? 10_000);

const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
const children: ChildProcess[] = [];
try {
  const descriptors = join(folder, 'echo.binpb');
  const modules = JSON.stringify({ version: 'v2', modules: [{ path: 'bench' }, { path: 'proto' }] });
  execFileSync(
    process.execPath,
    [
      join(root, 'node_modules/@bufbuild/buf/bin/buf'),
      'build',
      '--config',
      modules,
      '--path',
      'bench/echo.proto',
      '-o',
      descriptors,
    ],
    {
      cwd: root,
    },
  );
  const echo = await peer('echo-server', [bench, proto]);
  const nest = await peer('nest-gateway', [bench, proto, `127.0.0.1:${echo.port}`]);
  const gateway = await startGateway(echo.port, descriptors);

  const contestant = (name: string, { child, port }: Running): Contestant => ({
    name,
    processes: { gateway: child.pid!, service: echo.child.pid! },
    run: (count) =>
      httpLoad(
        {
          port,
          method: 'POST',
          path: '/echo/postcard',
          headers: { 'content-type': 'application/json' },
          body: '{"text":"twenty bytes of text","number":"42"}',
          connections: 32,
        },
        count,
      ),
  });
  const results = await contest([contestant('Sluice', gateway), contestant('NestJS + grpc-js', nest)], {
    rounds,
    calls,
  });
  console.log(`POST /echo/{name}, HTTP/1.1, 32 connections; medians of ${rounds} rounds of ${calls} calls`);
  console.log(contestTable(results));
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}

interface Running {
  child: ChildProcess;
  port: number;
}

/** Starts one of `peers/`, which tells its port when it listens. */
async function peer(name: string, args: string[]): Promise<Running> {
  const child = fork(fileURLToPath(new URL(`./peers/${name}.js`, import.meta.url)), args);
  children.push(child);
  const [port] = (await once(child, 'message')) as [number];
  return { child, port };
}

async function startGateway(echoPort: number, descriptors: string): Promise<Running> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const child = fork(join(root, 'apps/gateway/dist/main.js'), [], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      NODE_ENV: 'production',
      GATEWAY_CONFIG: join(bench, 'gateway.yaml'),
      GATEWAY_PORT: String(port),
      GATEWAY_ADMIN_PORT: String(adminPort),
      ECHO_ADDRESS: `127.0.0.1:${echoPort}`,
      ECHO_DESCRIPTORS: descriptors,
      ACCESS_LOG: 'false',
    },
  });
  children.push(child);
  const deadline = Date.now() + 30_000;
  const ready = () =>
    fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
  while (!(await ready())) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('the gateway did not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { child, port };
}
