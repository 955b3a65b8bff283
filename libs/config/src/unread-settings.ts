import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { alignmentDistance } from './nearest-name.js';
import { SETTING_NAMES } from './setting-names.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** First words that no other program uses in this way: what begins so was meant for us. */
const OURS = /^(?:SLUICE|GATEWAY|ALLOC|ALLOCATOR|ALLOCATION|POSTCARD|GUEST|RATE_LIMIT)_/i;
/** What Kubernetes and Docker set for a service called `gateway`. */
const SERVICE_LINK = /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP)(?:_\w+)?|ENV_\w+)$/;
/** Read by the lab, the scripts and the tests. */
const OF_COMMANDS = new Set(['SLUICE_URL']);

/** Names that systems like this one have elsewhere, and what there is here instead; the first row that fits counts. */
const ELSEWHERE: readonly { name: RegExp; here: string; unless?: (environment: Environment) => boolean }[] = [
  {
    name: /^PORT$/,
    here: 'each process has a port of its own, the one for clients is GATEWAY_PORT',
    unless: ({ PORT, GATEWAY_PORT }) => PORT === GATEWAY_PORT,
  },
  {
    name: /^(?:RATE_?LIMIT_(?:PROVIDER|STORAGE\w*|REDIS\w*|BACKEND))$/,
    here: 'limits are shared by the Redis of REDIS_URL, and without it they live in the process',
  },
  {
    name: /^RATE_?LIMIT_(?!ENABLED$)\w+$/,
    here: 'limits are policies in the file of GATEWAY_CONFIG (limits.policies); RATE_LIMIT_ENABLED turns them on and off',
  },
  {
    name: /^DB_MAX_OVERFLOW$/,
    here: 'a pool never grows beyond DB_POOL_SIZE; add the overflow to it',
  },
  {
    name: /^DB_POOL_(?:RECYCLE|PRE_PING)$/,
    here: 'connections that break are replaced by themselves; DB_POOL_SIZE and DB_POOL_TIMEOUT are what a pool has',
  },
  {
    name: /^ADMIN_PASSWORD$/,
    here: 'the password of the first administrator is read from the file of ADMIN_PASSWORD_FILE',
  },
];

const REFERENCE = /\$\{([A-Za-z_]\w*)/g;

/** The variables that the gateway's file of configuration refers to; of a file that cannot be read the gateway itself says so. */
export function namedByConfiguration(environment: Environment, folder = '.'): string[] {
  try {
    const text = readFileSync(resolve(folder, environment['GATEWAY_CONFIG'] || 'config/gateway.yaml'), 'utf8');
    return [...text.matchAll(REFERENCE)].map(([, name]) => name as string);
  } catch {
    return [];
  }
}

/**
 * Variables that are one or two letters off a setting of the table and that no other program can mean: mistakes, which stop a start.
 * Variables that other programs may read never do; those are {@link unreadSettings}.
 *
 * @param table names of settings, and whether they are secret
 */
export function misspelt(
  table: Readonly<Record<string, { readonly secret: boolean }>>,
  environment: Environment,
  read: readonly string[] = [],
): string[] {
  const faults: string[] = [];
  for (const name of unknownNames(environment, [...Object.keys(table), ...read])) {
    const base = name.replace(/_FILE$/, '');
    if (base !== name && table[base] !== undefined && !table[base].secret)
      faults.push(`${name}: nothing reads it, since only secrets come as files; expected ${base}`);
    else {
      const meant = nearSetting(name, Object.keys(table));
      if (meant !== undefined && isUnmistakable(name))
        faults.push(`${name}: there is no such setting; did you mean ${meant}?`);
    }
  }
  return faults;
}

/** As {@link misspelt}, of the settings of all processes. */
export function misspeltSettings(environment: Environment, read: readonly string[] = []): string[] {
  return misspelt(Object.fromEntries(SETTING_NAMES), environment, read);
}

/**
 * Variables of the environment that look like settings of ours and that nothing reads: by name, and why or what was probably meant.
 *
 * @param read names that are read besides the settings, as those that a file of configuration refers to
 */
export function unreadSettings(environment: Environment, read: readonly string[] = []): ReadonlyMap<string, string> {
  const warnings = new Map<string, string>();
  for (const name of unknownNames(environment, read)) {
    const elsewhere = ELSEWHERE.find((row) => row.name.test(name));
    if (elsewhere !== undefined) {
      if (!elsewhere.unless?.(environment)) warnings.set(name, `nothing reads it: ${elsewhere.here}`);
      continue;
    }
    const meant = nearSetting(name, SETTING_NAMES.keys());
    if (meant !== undefined) warnings.set(name, `nothing reads it; did you mean ${meant}?`);
    else if (OURS.test(name))
      warnings.set(name, 'nothing reads it: docs/reference/settings.md has the names of all settings');
  }
  return warnings;
}

function unknownNames(environment: Environment, known: Iterable<string>): string[] {
  const read = new Set(known);
  return Object.entries(environment)
    .filter(([, value]) => value)
    .map(([name]) => name)
    .filter((name) => ![name, name.replace(/_FILE$/, '')].some((own) => SETTING_NAMES.has(own) && isReadAs(own, name)))
    .filter((name) => !read.has(name) && !OF_COMMANDS.has(name) && !SERVICE_LINK.test(name));
}

/** A setting is read under its name, and a secret as a file, too. */
function isReadAs(setting: string, name: string): boolean {
  return setting === name || SETTING_NAMES.get(setting)!.secret;
}

/** The setting that was probably meant: in another case, after our name, or so few letters off that chance is no explanation. */
function nearSetting(name: string, settings: Iterable<string>): string | undefined {
  const wanted = name
    .toUpperCase()
    .replace(/^SLUICE_/, '')
    .replace(/_FILE$/, '');
  let best: { name: string; distance: number } | undefined;
  for (const setting of settings) {
    const most = setting.length < 8 ? 0 : setting.length < 10 ? 1 : 2;
    if (Math.abs(setting.length - wanted.length) > most) continue;
    const distance = alignmentDistance(wanted, setting);
    if (distance <= most && distance < (best?.distance ?? Infinity)) best = { name: setting, distance };
  }
  return best?.name;
}

/** Whether no other program would be told anything by this name: it has a first word of ours, or three words. */
function isUnmistakable(name: string): boolean {
  return OURS.test(name) || name.split('_').length >= 3;
}
