import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { networkOf } from '@sluice/identity';
import type { DataSource } from 'typeorm';
import { standingOf } from '../guests/allowance.js';
import { guestLimits, guestTerms, policyNameOf, waitMsOf } from '../guests/guest-limits.js';
import { deviceOf } from '../guests/guest-store.js';
import { type GuestCounts, type GuestReport, guestReport } from '../guests/report.js';
import type { UserSettings } from '../settings.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run guests -- COMMAND …

  report [--hours 24] [--gap 60] [--json]
    Requests for guest tokens: by cause with their shares, by burst over all causes, by hour.
    A silence of more than --gap seconds ends a burst.

  limits [--device-file FILE] [--ip ADDRESS] [--tenant NAME] [--json]
    What a device may ask for now, and what is left of each limit; spends nothing. At least one of --device-file and --ip.
    FILE has the device's name, which works like a password; - is the standard input. Without it the device is its address.

Whoever calls asks the same of GET /api/v1/auth/guest/limits.`;

type Options = Readonly<Record<'hours' | 'gap' | 'device-file' | 'ip' | 'tenant', string | undefined>> & {
  readonly json?: boolean | undefined;
};

/** Each is undefined when it was called wrongly. */
const commands: Readonly<
  Record<string, (options: Options) => ((source: DataSource, settings: UserSettings) => Promise<void>) | undefined>
> = { report, limits };

await runCommand(usage, async (settings) => {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { hours: text, gap: text, 'device-file': text, ip: text, tenant: text, json: { type: 'boolean' } },
  });
  const [name = ''] = positionals;
  const command = positionals.length === 1 && Object.hasOwn(commands, name) ? commands[name] : undefined;
  const run = command?.(values as Options);
  if (run === undefined) return undefined;
  const read = settings();
  const dataSource = await openUserDatabase(read);
  try {
    await run(dataSource, read);
    return 0;
  } finally {
    await dataSource.destroy();
  }
});

function report(options: Options) {
  const hours = Number(options.hours ?? '24');
  const gap = Number(options.gap ?? '60');
  const stray = options['device-file'] ?? options.ip ?? options.tenant;
  if (!(hours > 0) || !(gap > 0) || stray !== undefined) return undefined;
  return async (dataSource: DataSource) => {
    const found = await guestReport(dataSource, hours, gap);
    if (options.json) console.log(JSON.stringify(found, undefined, 2));
    else printReport(found);
  };
}

function printReport({ hours, total, by_cause, bursts, by_hour }: GuestReport): void {
  console.log(`Guest tokens of the last ${hours} h: ${total.attempts} requests in ${bursts.length} bursts`);
  const minute = (time: Date) => time.toISOString().slice(0, 16).replace('T', ' ');
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  table('cause', ['share'], by_cause, ({ cause, share }) => [cause, percent(share)]);
  table('burst (UTC)', ['minutes'], bursts, ({ first, last }) => [
    `${minute(first)} to ${minute(last).slice(11)}`,
    ((last.getTime() - first.getTime()) / 60_000).toFixed(1),
  ]);
  for (const { first, causes } of bursts) {
    const list = Object.entries(causes).map(([cause, count]) => `${cause} ${count}`);
    console.log(`  ${minute(first)}: ${list.join(', ')}`);
  }
  table('hour (UTC)', [], by_hour, ({ hour }) => [minute(hour)]);
}

/** The counts of each row, after what the row is called and what else is known of it. */
function table<Row extends GuestCounts>(
  title: string,
  columns: readonly string[],
  rows: readonly Row[],
  cellsOf: (row: Row) => readonly string[],
): void {
  if (rows.length === 0) return;
  const print = ([name, ...cells]: readonly (string | number)[]) =>
    console.log(String(name).padEnd(32) + cells.map((cell) => String(cell).padStart(10)).join(''));
  console.log('');
  print([title, ...columns, 'requests', 'issued', 'returned', 'refused', 'failed', 'devices']);
  for (const row of rows) {
    const { attempts, issued, returned, refused, failed, devices } = row;
    print([...cellsOf(row), attempts, issued, returned, refused, failed, devices]);
  }
}

function limits(options: Options) {
  const { 'device-file': file, ip, json } = options;
  if (options.hours !== undefined || options.gap !== undefined) return undefined;
  if ((file === undefined && ip === undefined) || (ip !== undefined && isIP(ip) === 0)) return undefined;
  return async (dataSource: DataSource, settings: UserSettings) => {
    const deviceId = file === undefined ? '' : readFileSync(file === '-' ? 0 : file, 'utf8').trim();
    const network = networkOf(ip ?? '');
    const key = { tenant: options.tenant ?? settings.DEFAULT_TENANT, device: deviceOf(deviceId, network), network };
    const { refusal, usages, device } = await standingOf(dataSource.manager, key, guestLimits(settings));
    if (json) {
      const state = usages.map((usage) => ({ ...usage, waitMs: waitMsOf(usage) }));
      console.log(JSON.stringify({ refusal, usages: state, device, terms: guestTerms(settings) }, undefined, 2));
      return;
    }
    const wait = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
    const verdict = refusal ? `refused for ${wait(refusal.waitMs)} by ${policyNameOf(refusal.limit)}` : 'allowed';
    console.log(`A new guest token: ${verdict}; ${device?.refusals ?? 0} refusals since the last one.`);
    for (const usage of usages) {
      const { limit, used } = usage;
      const left = waitMsOf(usage) > 0 ? `refuses for ${wait(waitMsOf(usage))}` : `${limit.count - used} left`;
      const whose = limit.blockedBy === 'ip' ? 'address' : 'device';
      console.log(`  ${policyNameOf(limit)}: ${limit.count} in ${limit.seconds} s for each ${whose}: ${left}`);
    }
  };
}
