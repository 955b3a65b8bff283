import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const lab = fileURLToPath(new URL('../apps/lab/dist/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sluice-load-'));
let system: TestSystem;
/** With the password of this system's administrator: each run has a tenant of its own. */
let environment: NodeJS.ProcessEnv;

/** The members of report.json that matter here. */
interface Report {
  readonly passed: boolean;
  readonly interrupted: boolean;
  readonly thresholds: readonly { readonly name: string; readonly passed: boolean; readonly actual: string }[];
  readonly sessions: { readonly created: number; readonly deleted: number };
  readonly failures: Readonly<Record<string, number>>;
  readonly memory: readonly { readonly service: string; readonly samples: readonly unknown[] }[];
}

beforeAll(async () => {
  // Accounts are made as fast as the scenario asks, scaled: their passwords are hashed cheaply.
  system = await startSystem({ env: { PASSWORD_MEMORY_KIB: '64', PASSWORD_PASSES: '1', NODE_BUDGET: '10000000' } });
  const settings = readFileSync(`/proc/${system.process('user').pid}/environ`, 'utf8').split('\0');
  const file = settings.find((line) => line.startsWith('ADMIN_PASSWORD_FILE='))!.replace(/^[^=]*=/, '');
  environment = { ...process.env, ADMIN_PASSWORD_FILE: file };
});

afterAll(async () => {
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Runs a scenario with its minutes shortened to seconds. Each of its addresses becomes as many, so that the limits of the
 * gateway, which are per real minute, meet each address at its unscaled rate.
 */
async function load(...args: readonly string[]): Promise<{ code: number | null; report: Report; output: string }> {
  const services = system.system.processes.map(({ name, instance }) => `--watch=${name}=${instance.adminUrl}/metrics`);
  const target = ['-s', system.baseUrl, '-o', folder, '--scale-addresses'];
  const child = spawn(process.execPath, [lab, 'load', ...args, ...target, ...services], { env: environment });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { code, output, report: JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as Report };
}

const missed = ({ thresholds }: Report) => thresholds.filter(({ passed }) => !passed);

const burst = ['burst_test', '--users', 'accounts', '--time-scale', '10', '--sessions', '300', '--rate', '3'];

describe('a scaled load run against the whole system', () => {
  it('light_load meets its thresholds: 99 % of what guests ask succeeds and nothing is refused', async () => {
    const { code, report, output } = await load('light_load', '--time-scale', '30');
    expect(missed(report), output).toEqual([]);
    expect(code).toBe(0);
    expect(report.sessions).toMatchObject({ created: 100, deleted: 100 });
    expect(report.memory.map(({ service }) => service)).toEqual(['user', 'allocator', 'postcard', 'gateway']);
    expect(report.memory.every(({ samples }) => samples.length > 5)).toBe(true);
  });

  it('burst_test, a third of it, meets its thresholds: three hundred sessions in a few seconds', async () => {
    const { code, report, output } = await load(...burst);
    expect(missed(report), output).toEqual([]);
    expect(code).toBe(0);
    expect(report.sessions.created).toBe(300);
  });

  it('leaves no tokens used, no session, no guest and no tenant behind', async () => {
    const held = await system.query(`select from budget.allocations where state in (1, 2)`);
    expect(held).toEqual([]);
    const used = await system.query<{ used: string }>(`select sum(used)::text as used from budget.nodes`);
    expect(used).toEqual([{ used: '0' }]);
    // Two runs; what is deleted goes when its last token has expired.
    const tenants = await system.query<{ deleted: boolean }>(
      `select delete_at is not null as deleted from identity.tenants where id like 'lab-%'`,
    );
    expect(tenants).toEqual([{ deleted: true }, { deleted: true }]);
    const users = await system.query(`select from identity.users where tenant like 'lab-%' and delete_at is null`);
    expect(users).toEqual([]);
    const accounts = await system.query(`select from budget.accounts`);
    expect(accounts).toEqual([]);
    const sessions = await system.query(`select from postcard.sessions`);
    expect(sessions).toEqual([]);
  });
});

describe('Ctrl-C', () => {
  /** Starts a run in a process group of its own, as a shell would, and resolves when sessions were created. */
  async function running(command: readonly string[], out: string): Promise<ChildProcess> {
    const [program, ...args] = command as [string, ...string[]];
    const run = ['light_load', '-s', system.baseUrl, '-o', out, '--time-scale', '5', '--scale-addresses'];
    const child = spawn(program, [...args, ...run], { cwd: root, env: environment, detached: true, stdio: 'ignore' });
    await expect.poll(() => system.query(`select from postcard.sessions`), { timeout: 30_000 }).not.toHaveLength(0);
    return child;
  }

  it.each([
    ['npm run lab', ['npm', 'run', 'lab', '--', 'load']],
    ['the script', ['sh', 'scripts/run_1000_sessions_test.sh']],
  ])('ends %s with a clean-up, a report and exit code 130', async (name, command) => {
    const out = join(folder, name.replaceAll(' ', '-'));
    const child = await running(command, out);
    process.kill(-child.pid!, 'SIGINT');
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    // npm ends by the signal itself, which a shell calls 130.
    expect(signal === 'SIGINT' ? 130 : code).toBe(130);
    const report = JSON.parse(readFileSync(join(out, 'report.json'), 'utf8')) as Report;
    expect(report.interrupted).toBe(true);
    expect(report.sessions.created).toBeGreaterThan(0);
    expect(report.sessions.deleted).toBe(report.sessions.created);
    expect(await system.query(`select from postcard.sessions`)).toEqual([]);
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('interrupted');
  });

  it('ends a clean-up that takes too long when it comes again', async () => {
    const out = join(folder, 'twice');
    const child = await running(['sh', 'scripts/run_1000_sessions_test.sh'], out);
    // Nobody answers the deletions.
    const gateway = system.process('gateway').pid!;
    process.kill(gateway, 'SIGSTOP');
    try {
      const exit = once(child, 'exit');
      process.kill(child.pid!, 'SIGINT');
      setTimeout(() => process.kill(child.pid!, 'SIGINT'), 1_500);
      expect(await exit).toEqual([130, null]);
      expect(existsSync(out)).toBe(false);
    } finally {
      process.kill(gateway, 'SIGCONT');
    }
  });
});
