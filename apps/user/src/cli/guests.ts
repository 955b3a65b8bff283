import { parseArgs } from 'node:util';
import { type GuestBurst, guestBursts } from '../guests/report.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run guests -- report [--hours 24] [--gap 60] [--json]
  Requests for guest tokens by cause and burst. A silence of more than --gap seconds ends a burst.`;

await runCommand(usage, async (settings) => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { hours: { type: 'string' }, gap: { type: 'string' }, json: { type: 'boolean' } },
  });
  const hours = Number(values.hours ?? '24');
  const gap = Number(values.gap ?? '60');
  if (positionals.join() !== 'report' || !(hours > 0) || !(gap > 0)) return undefined;
  const dataSource = await openUserDatabase(settings());
  try {
    const bursts = await guestBursts(dataSource, hours, gap);
    if (values.json) console.log(JSON.stringify(bursts, undefined, 2));
    else print(bursts, hours);
    return 0;
  } finally {
    await dataSource.destroy();
  }
});

function print(bursts: readonly GuestBurst[], hours: number): void {
  console.log(`Guest tokens of the last ${hours} h: ${bursts.length} bursts`);
  const row = (cells: readonly unknown[]) =>
    console.log(cells.map((cell, at) => String(cell).padEnd(at === 0 ? 20 : 26 - (at > 2 ? 16 : 0))).join(''));
  row(['cause', 'first', 'last', 'count', 'issued', 'returned', 'refused', 'failed', 'devices']);
  for (const burst of bursts) {
    const { cause, first, last, attempts, issued, returned, refused, failed, devices } = burst;
    row([cause, first.toISOString(), last.toISOString(), attempts, issued, returned, refused, failed, devices]);
  }
}
