import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const lab = fileURLToPath(new URL('../apps/lab/dist/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sluice-load-'));
let system: TestSystem;

/** The members of report.json that matter here. */
interface Report {
  readonly passed: boolean;
  readonly thresholds: readonly { readonly name: string; readonly passed: boolean; readonly actual: string }[];
  readonly sessions: { readonly created: number; readonly deleted: number };
  readonly failures: Readonly<Record<string, number>>;
  readonly memory: readonly { readonly service: string; readonly samples: readonly unknown[] }[];
}

beforeAll(async () => {
  // Accounts are made as fast as the scenario asks, scaled: their passwords are hashed cheaply.
  system = await startSystem({ env: { PASSWORD_MEMORY_KIB: '64', PASSWORD_PASSES: '1', NODE_BUDGET: '10000000' } });
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
  const child = spawn(process.execPath, [lab, 'load', ...args, ...target, ...services]);
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

  it('leaves no tokens reserved and no session behind', async () => {
    const held = await system.query(`select from budget.allocations where state = 1`);
    expect(held).toEqual([]);
    const sessions = await system.query(`select from postcard.sessions`);
    expect(sessions).toEqual([]);
  });
});
