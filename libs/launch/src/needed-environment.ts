import { namedByConfiguration } from '@sluice/config';
import type { Environment } from '../ports.mjs';
import { PROCESSES, type ProcessSpec } from '../process-table.mjs';

/** What a program needs of the machine, whatever it is. */
const OF_THE_MACHINE =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|TMP|TEMP|LD_LIBRARY_PATH|DYLD_.*|SystemRoot)$/;

/** For a program that is not ours: nothing that is set for others. */
export function environmentOfMachine(environment: Environment): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => OF_THE_MACHINE.test(name)));
}

/** Names under which people keep secrets, ours among them. */
const SECRET =
  /(TOKEN|SECRET|PASSWORD|PASSWD|MASTER_KEY|API_KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?|(DATABASE|REDIS)_URL)(_ID)?(_FILE)?$/i;

/**
 * What one of the processes sees of the environment: all but the secrets that are not its own. Its own are those of its row, and for the
 * gateway those that its file of configuration names.
 */
export function neededEnvironment(spec: ProcessSpec, environment: Environment, root: string): NodeJS.ProcessEnv {
  const own = new Set([...spec.secrets, ...(spec.secretSettings ?? [])]);
  if (spec.database) for (const name of [spec.database.setting, 'DATABASE_URL']) own.add(name);
  if (spec.name === 'gateway') for (const name of namedByConfiguration(environment, root)) own.add(name);
  const others = new Set(PROCESSES.flatMap(({ secrets, secretSettings = [] }) => [...secrets, ...secretSettings]));
  const needed = (name: string) => {
    if (own.has(name) || own.has(name.replace(/_FILE$/, ''))) return true;
    return !SECRET.test(name) && !others.has(name.replace(/_FILE$/, ''));
  };
  return Object.fromEntries(Object.entries(environment).filter(([name]) => needed(name)));
}
