import { readFileSync } from 'node:fs';
import { misspelt } from './unread-settings.js';

/** What can be wrong with one setting; its message names the expectation, never a secret's value. */
class SettingFault extends Error {}

/** How one environment variable is read. */
export interface Setting<T> {
  /** A sentence for docs/reference/settings.md. */
  readonly describe: string;
  /** What a valid value looks like. */
  readonly expect: string;
  /** The default as it would be written in the environment; undefined: none, and absence gives `absent`. */
  readonly fallback: string | undefined;
  readonly secret: boolean;
  /** What the setting is without a value; `required` stops the start. */
  readonly absent: 'required' | 'undefined';
  /** Throws or returns undefined for text that is not as expected. */
  parse(text: string): T | undefined;
  /** What to type instead of a text that is refused, for mistakes that are known; never the text itself where it is secret. */
  advise?(text: string): string | undefined;
}

type Settings = Readonly<Record<string, Setting<unknown>>>;
export type SettingsOf<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** The start must stop: every fault of the configuration, one a line, each with the key, the value and the expectation. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'));
  }
}

/**
 * Reads every setting of the table from the environment at once.
 *
 * An empty value counts as absent. A setting marked `secret` may come as `NAME_FILE`, the path of a file whose
 * content, less a trailing newline, is the value. A variable that can only be a misspelt setting of the table is a fault, too.
 *
 * @param read names that are read besides the table, as those that a file of configuration refers to
 * @throws ConfigurationError with all faults
 */
export function readSettings<S extends Settings>(
  settings: S,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  read: readonly string[] = [],
): SettingsOf<S> {
  const faults = misspelt(settings, environment, read);
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) {
    try {
      values[key] = readOne(key, setting, environment);
    } catch (error) {
      if (!(error instanceof SettingFault)) throw error;
      faults.push(error.message);
    }
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return values as SettingsOf<S>;
}

function readOne(key: string, setting: Setting<unknown>, environment: Readonly<Record<string, string | undefined>>) {
  const text = rawValue(key, setting, environment) ?? setting.fallback;
  if (text === undefined) {
    if (setting.absent === 'undefined') return undefined;
    throw new SettingFault(`${key} is not set: expected ${setting.expect}`);
  }
  const value = setting.parse(text);
  if (value !== undefined) return value;
  const advice = setting.advise?.(text);
  throw new SettingFault(
    `${key}=${setting.secret ? '(secret)' : JSON.stringify(text)}: expected ${setting.expect}${advice === undefined ? '' : `; ${advice}`}`,
  );
}

function rawValue(key: string, setting: Setting<unknown>, environment: Readonly<Record<string, string | undefined>>) {
  const direct = environment[key] || undefined;
  const file = setting.secret ? environment[`${key}_FILE`] || undefined : undefined;
  if (direct !== undefined && file !== undefined) {
    throw new SettingFault(`${key} and ${key}_FILE are both set: expected one of them`);
  }
  if (file === undefined) return direct;
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new SettingFault(`${key}_FILE=${JSON.stringify(file)}: cannot be read (${(error as Error).message})`);
  }
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** A whole number within bounds. */
export function integer(describe: string, fallback: number, { min, max }: Bounds): Setting<number> {
  return {
    describe,
    expect: `a whole number from ${min} to ${max}`,
    fallback: String(fallback),
    secret: false,
    absent: 'required',
    parse(text) {
      const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  };
}

/** A TCP port; 0 lets the system choose. */
export function port(describe: string, fallback: number): Setting<number> {
  return { ...integer(describe, fallback, { min: 0, max: 65_535 }), advise: adviseOnPort };
}

/** What Kubernetes sets in every pod for a Service of the same name. */
function adviseOnPort(text: string): string | undefined {
  if (!text.startsWith('tcp://')) return undefined;
  return 'this is the link that Kubernetes makes to a Service of this name: set enableServiceLinks: false in the pod';
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A time in milliseconds, written as a number of seconds or with a unit. `min` and `max` are milliseconds. */
export function duration(describe: string, fallback: string, { min, max }: Bounds): Setting<number> {
  return {
    describe,
    expect: `a number of seconds from ${min / 1000} to ${max / 1000}, or with a unit (500ms, 5s, 1m)`,
    fallback,
    secret: false,
    absent: 'required',
    parse(text) {
      const [, count, unit = 's'] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(text) ?? [];
      const value = Math.round(Number(count) * UNITS_MS[unit]!);
      return value >= min && value <= max ? value : undefined;
    },
    advise(text) {
      const value = Number(text);
      return value > max / 1000 && value <= max ? `as milliseconds it is ${text}ms` : undefined;
    },
  };
}

/** A number with an optional fraction, within bounds. */
export function decimal(describe: string, fallback: number, { min, max }: Bounds): Setting<number> {
  return {
    describe,
    expect: `a number from ${min} to ${max}`,
    fallback: String(fallback),
    secret: false,
    absent: 'required',
    parse(text) {
      const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  };
}

/** Text that is not empty. */
export function text(describe: string, fallback: string): Setting<string> {
  return { describe, expect: 'text', fallback, secret: false, absent: 'required', parse: (value) => value };
}

/** Text that may be absent. */
export function optionalText(describe: string): Setting<string | undefined> {
  return { describe, expect: 'text', fallback: undefined, secret: false, absent: 'undefined', parse: (value) => value };
}

/** One of a few words. */
export function choice<const T extends string>(describe: string, words: readonly T[], fallback: T): Setting<T> {
  return {
    describe,
    expect: `one of ${words.join(', ')}`,
    fallback,
    secret: false,
    absent: 'required',
    parse: (value) => words.find((word) => word === value),
  };
}

/** `true` or `false`. */
export function flag(describe: string, fallback: boolean): Setting<boolean> {
  return {
    describe,
    expect: 'true or false',
    fallback: String(fallback),
    secret: false,
    absent: 'required',
    parse: (value) => (value === 'true' ? true : value === 'false' ? false : undefined),
  };
}

/** A secret of at least `minLength` characters, directly or as `NAME_FILE`. */
export function secret(describe: string, minLength = 1): Setting<string | undefined> {
  return {
    describe,
    expect: minLength > 1 ? `at least ${minLength} characters` : 'text that is not empty',
    fallback: undefined,
    secret: true,
    absent: 'undefined',
    parse: (value) => (value.length >= minLength ? value : undefined),
  };
}

/** The same setting, whose absence stops the start. */
export function required<T>(setting: Setting<T | undefined>): Setting<T> {
  return { ...setting, absent: 'required' } as Setting<T>;
}
