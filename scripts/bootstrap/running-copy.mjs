import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const LOCK = '.sluice/run/start.json';

/**
 * The copy of `npm start` that runs in this folder now, as it wrote itself down; undefined when there is none. A record that a killed
 * copy left behind does not count: its process is gone, or its number was given to a process that started at another time.
 */
export function runningCopy(root) {
  const path = join(root, LOCK);
  if (!existsSync(path)) return undefined;
  try {
    const record = JSON.parse(readFileSync(path, 'utf8'));
    return isAlive(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** What to tell the user about another copy in this folder. */
export function describeCopy(record) {
  return `Sluice is already running in this folder: process ${record.pid}${record.url ? `, ${record.url}` : ', still starting'}. Stop it with Ctrl-C in its terminal, or kill ${record.pid}.`;
}

/**
 * Writes this process down as the copy of this folder.
 *
 * @returns the copy that was faster, or undefined; then `update` and `release` of the record
 */
export function claimFolder(root) {
  const path = join(root, LOCK);
  mkdirSync(dirname(path), { recursive: true });
  for (;;) {
    let file;
    try {
      file = openSync(path, 'wx', 0o644);
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const other = runningCopy(root);
      if (other !== undefined) return { other };
      rmSync(path, { force: true });
      continue;
    }
    const record = { pid: process.pid, started: startOf(process.pid) };
    writeSync(file, JSON.stringify(record));
    closeSync(file);
    return {
      update: (more) => writeFileSync(path, JSON.stringify({ ...record, ...more })),
      release: () => rmSync(path, { force: true }),
    };
  }
}

function isAlive({ pid, started }) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
  }
  return startOf(pid) === started;
}

/** When the process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); null where there is no /proc. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return null;
  }
}
