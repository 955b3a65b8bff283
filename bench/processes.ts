/** The processes that the benchmarks of this folder measure, and what stands behind them. */
import { type ChildProcess, execFileSync, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, NODE_ARGUMENTS } from '@sluice/testing';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const bench = join(root, 'bench');
/** Goes with {@link stopAll}. */
export const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));

export interface Running {
  child: ChildProcess;
  port: number;
}

const children: ChildProcess[] = [];

/** Notes a process that {@link stopAll} is to end. */
export function started(child: ChildProcess): void {
  children.push(child);
}

export function stopAll(): void {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}

/** What every gateway of a benchmark stands before: a gRPC service, and an issuer of tokens. */
export interface Echo {
  readonly echo: ChildProcess;
  readonly address: string;
  /** Where `google/api` is. */
  readonly proto: string;
  readonly token: string;
  /** The environment of {@link startGateway}. */
  readonly settings: Readonly<Record<string, string>>;
}

export async function startEcho(): Promise<Echo> {
  const descriptors = join(folder, 'echo.binpb');
  buildDescriptors(descriptors);
  const proto = join(root, 'proto');
  const { child: echo, port: echoPort } = await peer('echo-server', []);
  const address = `127.0.0.1:${echoPort}`;
  const { token, port: keyPort } = await keyServer();
  const settings = { ECHO_ADDRESS: address, ECHO_DESCRIPTORS: descriptors, KEYS_URL: `http://127.0.0.1:${keyPort}/` };
  return { echo, address, proto, token, settings };
}

export function missing(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0;
}

function buildDescriptors(file: string): void {
  const modules = JSON.stringify({ version: 'v2', modules: [{ path: 'bench' }, { path: 'proto' }] });
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  const args = [buf, 'build', '--config', modules, '--path', 'bench/echo.proto', '-o', file];
  execFileSync(process.execPath, args, { cwd: root });
}

/** Starts one of `peers/`, which tells its port when it listens. */
export async function peer(name: string, args: string[]): Promise<Running> {
  const child = fork(fileURLToPath(new URL(`./peers/${name}.js`, import.meta.url)), args);
  started(child);
  const [port] = (await once(child, 'message')) as [number];
  return { child, port };
}

async function keyServer(): Promise<{ port: number; token: string }> {
  const child = fork(fileURLToPath(new URL('./peers/key-server.js', import.meta.url)));
  started(child);
  const [told] = (await once(child, 'message')) as [{ port: number; token: string }];
  return told;
}

/** The gateway with a configuration (of this folder when its path is not absolute), on a free port, once it is ready. */
export async function startGateway(config: string, settings: Record<string, string>): Promise<Running> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const child = fork(join(root, 'apps/gateway/dist/main.js'), [], {
    cwd: root,
    execArgv: [...process.execArgv, ...NODE_ARGUMENTS],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      ACCESS_LOG: 'false',
      ...settings,
      NODE_ENV: 'production',
      GATEWAY_CONFIG: resolve(bench, config),
      GATEWAY_PORT: String(port),
      GATEWAY_ADMIN_PORT: String(adminPort),
    },
  });
  started(child);
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
