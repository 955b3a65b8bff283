import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, leaksInText } from '@sluice/testing';

/** The folder with the commands that a checkout offers. */
export const BIN = fileURLToPath(new URL('../node_modules/.bin', import.meta.url));

/** `sluice-gateway` as a stranger runs it: from a folder of their own, with nothing else of Sluice. */
export interface StandaloneGateway {
  readonly origin: string;
  readonly adminOrigin: string;
  readonly port: number;
  /** Everything it has logged. */
  log(): string;
  /** Resolves with the exit code. @throws Error when the log shows a secret that the tests have used */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** A folder whose path has a space in it. */
export function openFolder(): { readonly path: string; write(name: string, content: string): string; remove(): void } {
  const parent = mkdtempSync(join(tmpdir(), 'sluice-own-'));
  const path = join(parent, 'my service');
  mkdirSync(path);
  return {
    path,
    write(name, content) {
      writeFileSync(join(path, name), content);
      return join(path, name);
    },
    remove: () => rmSync(parent, { recursive: true, force: true }),
  };
}

/** Resolves when it lives, which is before it is ready. */
export async function startGateway(
  folder: string,
  args: readonly string[] = [],
  settings: Readonly<Record<string, string>> = {},
): Promise<StandaloneGateway> {
  const [port, adminPort] = [await freePort(), await freePort()];
  let log = '';
  const child = spawn(join(BIN, 'sluice-gateway'), ['--config', 'my.yaml', '--port', String(port), ...args], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      GATEWAY_ADMIN_PORT: String(adminPort),
      SHUTDOWN_DELAY_SECONDS: '0',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const adminOrigin = `http://127.0.0.1:${adminPort}`;
  const lives = () =>
    fetch(`${adminOrigin}/livez`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await lives())) {
    if (child.exitCode !== null) throw new Error(`sluice-gateway ended with ${child.exitCode}: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    origin: `http://127.0.0.1:${port}`,
    adminOrigin,
    port,
    log: () => log,
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const code = await exited;
      const leaks = leaksInText(log, 'sluice-gateway');
      if (leaks.length > 0) throw new Error(`secrets in the log:\n${leaks.join('\n')}`);
      return code;
    },
  };
}
