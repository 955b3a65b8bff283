import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isField } from './request.js';

/** What a session does when its turn comes. */
export const actions = ['message', 'history', 'session'] as const;
export type Action = (typeof actions)[number];

export interface Thresholds {
  /** Shares of the answered calls, 0 to 1. */
  readonly success_min: number;
  readonly refused_max: number;
  /** Share of the planned calls that were sent, 0 to 1. */
  readonly sent_min: number;
  /** Corrected latency, in milliseconds. */
  readonly p95_ms_max: number;
  readonly p99_ms_max: number;
  /** Sessions per second of scenario time, while sessions were being created. */
  readonly create_per_second_min: number;
  /** Seconds after the load until latency and refusals are as before; absent: not looked at. */
  readonly recovery_seconds_max?: number;
}

/** Users of one tenant. The tenant `default` is the server's own. */
export interface Tenant {
  readonly name: string;
  /** Its share of the users, beside the others' weights. */
  readonly weight: number;
  /** Header fields that its users send with each call. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A scenario file, complete. Times are in scenario time: `--time-scale` makes them shorter. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly sessions: number;
  readonly minutes: number;
  readonly addresses: number;
  /** `guests`: a guest token each; `accounts`: each registers and signs in. */
  readonly users: 'guests' | 'accounts';
  readonly sessions_per_user: number;
  readonly messages_per_minute_per_address: number;
  readonly multiplier: { readonly min: number; readonly max: number };
  /** Weights. */
  readonly mix: Readonly<Record<Action, number>>;
  readonly messages: readonly string[];
  readonly tenants: readonly Tenant[];
  readonly leak_check: boolean;
  readonly thresholds: Thresholds;
}

/** A scenario or an option that cannot be used; each fault on a line of its own. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const scenarioFolder = fileURLToPath(new URL('../../scenarios/', import.meta.url));

const messagesUsual = [
  'Write a postcard from the coast.',
  'Say it in fewer words.',
  'What should I see in Lisbon in one day?',
  'Add a line about the weather.',
  'Thank my aunt for the parcel; she sent figs and a very long letter about the garden.',
];

const thresholdsUsual: Thresholds = {
  success_min: 0.95,
  refused_max: 0.05,
  sent_min: 0.95,
  p95_ms_max: 5_000,
  p99_ms_max: 10_000,
  create_per_second_min: 0.5,
};

const noActions: Readonly<Record<Action, number>> = { message: 0, history: 0, session: 0 };

export function scenarioNames(): string[] {
  return readdirSync(scenarioFolder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => basename(file, '.json'))
    .sort();
}

/**
 * Reads a scenario by its name, or by the path of a copy of one.
 *
 * @throws UsageError naming every fault of the file
 */
export function readScenario(nameOrPath: string): Scenario {
  const isPath = nameOrPath.endsWith('.json');
  if (!isPath && !scenarioNames().includes(nameOrPath)) {
    throw new UsageError(
      `there is no scenario ${nameOrPath}: expected ${scenarioNames().join(', ')} or the path of a .json file`,
    );
  }
  const path = isPath ? nameOrPath : join(scenarioFolder, `${nameOrPath}.json`);
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}`);
  }
  return parseScenario(basename(path, '.json'), content, path);
}

type Check = (value: unknown) => boolean;
const whole =
  (min: number, max: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
const number =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === 'number' && value >= min && value <= max;
const texts: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string' && item !== '');

/** Every key of a scenario file: what it must be, in words and as a check. */
const fields: Readonly<Record<string, readonly [expectation: string, check: Check]>> = {
  title: ['text', (value) => typeof value === 'string'],
  sessions: ['a whole number from 1 to 100000', whole(1, 100_000)],
  minutes: ['a number from 0.01 to 10080', number(0.01, 10_080)],
  addresses: ['a whole number from 1 to 60000', whole(1, 60_000)],
  users: ['guests or accounts', (value) => value === 'guests' || value === 'accounts'],
  sessions_per_user: ['a whole number from 1 to 1000', whole(1, 1_000)],
  messages_per_minute_per_address: ['a number above 0, at most 1000000', number(1e-6, 1_000_000)],
  'multiplier.min': ['a number from 0.01 to 1', number(0.01, 1)],
  'multiplier.max': ['a number from 1 to 100', number(1, 100)],
  'mix.message': ['a weight of 0 or more', number(0, 1e9)],
  'mix.history': ['a weight of 0 or more', number(0, 1e9)],
  'mix.session': ['a weight of 0 or more', number(0, 1e9)],
  messages: ['a list of texts', texts],
  tenants: ['a list of {name, weight, headers}', isTenants],
  leak_check: ['true or false', (value) => typeof value === 'boolean'],
  'thresholds.success_min': ['a share from 0 to 1', number(0, 1)],
  'thresholds.refused_max': ['a share from 0 to 1', number(0, 1)],
  'thresholds.sent_min': ['a share from 0 to 1', number(0, 1)],
  'thresholds.p95_ms_max': ['milliseconds above 0', number(1, 1e9)],
  'thresholds.p99_ms_max': ['milliseconds above 0', number(1, 1e9)],
  'thresholds.create_per_second_min': ['a number of 0 or more', number(0, 1e6)],
  'thresholds.recovery_seconds_max': ['seconds from 1 to 3600', number(1, 3600)],
};

function isTenants(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every(
      (item: { name?: unknown; weight?: unknown; headers?: unknown } | null) =>
        typeof item?.name === 'string' &&
        (item.weight === undefined || number(0, 1e9)(item.weight)) &&
        (item.headers === undefined || isFields(item.headers)),
    )
  );
}

function isFields(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && Object.entries(value).every(([name, text]) => isField(name, text))
  );
}

/**
 * The scenario that a file's content describes, with what it leaves out filled in.
 *
 * @throws UsageError naming every fault
 */
export function parseScenario(name: string, content: unknown, where = name): Scenario {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new UsageError(`${where}: expected an object`);
  }
  const given = new Map<string, unknown>();
  for (const [key, value] of Object.entries(content)) {
    const nested = key === 'multiplier' || key === 'mix' || key === 'thresholds';
    if (nested && typeof value === 'object' && value !== null) {
      for (const [inner, innerValue] of Object.entries(value)) given.set(`${key}.${inner}`, innerValue);
    } else given.set(key, value);
  }
  const faults: string[] = [];
  for (const [key, value] of given) {
    const field = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (!field) faults.push(`${where}: ${key} is not a key of a scenario`);
    else if (!field[1](value)) faults.push(`${where}: ${key}=${JSON.stringify(value)}: expected ${field[0]}`);
  }
  for (const key of ['sessions', 'minutes', 'addresses', 'messages_per_minute_per_address']) {
    if (!given.has(key)) faults.push(`${where}: ${key} is missing: expected ${fields[key]![0]}`);
  }
  if (
    given.has('mix.message') &&
    !['mix.message', 'mix.history', 'mix.session'].some((key) => Number(given.get(key)) > 0)
  ) {
    faults.push(`${where}: mix: expected a weight above 0`);
  }
  if (faults.length > 0) throw new UsageError(faults.join('\n'));
  return complete(name, content as Partial<Scenario>);
}

function complete(name: string, content: Partial<Scenario>): Scenario {
  const tenants = content.tenants?.map((tenant) => ({
    ...tenant,
    weight: tenant.weight ?? 1,
    headers: tenant.headers ?? {},
  }));
  return {
    name,
    title: content.title ?? name,
    sessions: content.sessions!,
    minutes: content.minutes!,
    addresses: content.addresses!,
    users: content.users ?? 'guests',
    sessions_per_user: content.sessions_per_user ?? 1,
    messages_per_minute_per_address: content.messages_per_minute_per_address!,
    multiplier: { min: 0.2, max: 1.5, ...content.multiplier },
    mix: content.mix ? { ...noActions, ...content.mix } : { ...noActions, message: 1 },
    messages: content.messages ?? messagesUsual,
    tenants: tenants && tenants.length > 0 ? tenants : [{ name: 'default', weight: 1, headers: {} }],
    leak_check: content.leak_check ?? false,
    thresholds: { ...thresholdsUsual, ...content.thresholds },
  };
}
