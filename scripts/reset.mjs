/**
 * `npm run reset`: removes .sluice (data, secrets, keys) after asking; with --yes, without.
 */
import { existsSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { exitOnStop, Stop } from './bootstrap/console.mjs';
import { describeCopy, runningCopy } from './bootstrap/running-copy.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, '.sluice');

async function main() {
  const other = runningCopy(root);
  if (other !== undefined) throw new Stop(describeCopy(other));
  if (!existsSync(folder)) return console.log('There is nothing to remove: .sluice does not exist.');
  if (!process.argv.includes('--yes') && !(await confirmed())) return console.log('Nothing was removed.');
  // For root the data may lie elsewhere, behind a link.
  const data = join(folder, 'postgres');
  if (existsSync(data)) rmSync(realpathSync(data), { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
  console.log('.sluice is removed; the next start begins with an empty database.');
}

async function confirmed() {
  if (!process.stdin.isTTY)
    throw new Stop(
      'Removing .sluice deletes all accounts, budgets and keys. Without a terminal to ask at, confirm with --yes.',
    );
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question('Remove .sluice with all accounts, budgets and keys? Type yes to confirm: ');
  terminal.close();
  return answer.trim().toLowerCase() === 'yes';
}

main().catch(exitOnStop);
