import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type OperatorAccount, operatorAccount } from '../operator.js';
import { GATEWAY_PORT, localServices } from './local-services.js';
import type { WatchedService } from './monitor.js';
import type { LoadOptions } from './plan.js';
import { parseScenario, readScenario, type Scenario, UsageError } from './scenario.js';
import { checkTarget } from './target.js';

export interface LoadRequest {
  readonly scenario: Scenario;
  readonly options: LoadOptions;
  /** Where the report goes; undefined: a folder named after the scenario and the time. */
  readonly folder: string | undefined;
  readonly baseline: string | undefined;
  readonly tolerance: number;
  readonly services: readonly WatchedService[];
  /** Who makes the run a tenant of its own; undefined: the run goes to the tenants that it names. */
  readonly operator: OperatorAccount | undefined;
  /** Whether the target is this machine. */
  readonly here: boolean;
}

/** Each flag with its value's name and what it does; the help is made of it. */
const flags = {
  server: ['URL', 'the gateway (default: SLUICE_URL or http://127.0.0.1:8083)', 's'],
  out: ['DIR', 'folder of report.html, report.json, report.md and junit.xml (default: reports/SCENARIO-TIME)', 'o'],
  list: [undefined, 'lists the scenarios'],
  help: [undefined, 'this text', 'h'],
  sessions: ['N', 'sessions, instead of the scenario’s'],
  scenario: ['NAME', 'the scenario, as without the flag'],
  duration: ['TIME', 'seconds, or with a unit 90s, 60m, 2h: instead of the scenario’s'],
  'ip-count': ['N', 'client addresses, instead of the scenario’s'],
  rate: ['N', 'calls a minute of each address, instead of the scenario’s'],
  users: ['KIND', 'guests (default) or accounts, which register and sign in'],
  tenants: [
    'A,B',
    'tenants that are there, to which the users belong in equal parts (default: one made for the run and removed after it)',
  ],
  messages: ['FILE', 'messages to send, one a line'],
  'time-scale': ['N', 'scenario time passes N times faster; the server’s limits stay per real minute'],
  'scale-addresses': [
    undefined,
    'with --time-scale: N times as many addresses, so that each asks no more than unscaled',
  ],
  forwarded: [
    undefined,
    'says the addresses in X-Forwarded-For (the gateway must trust this machine) instead of using them; always so for other machines',
  ],
  'i-own-this-target': ['HOST', 'allows a target that is not loopback'],
  seed: ['N', 'seed of the random choices (default 1)'],
  timeout: ['SECONDS', 'how long a call may take until headers or between chunks (default 30)'],
  watch: [
    'NAME=URL',
    'a service whose memory is read from its /metrics; may be repeated (default: LAB_WATCH or the usual local ports)',
  ],
  baseline: ['FILE', 'report.json of an earlier run to compare with'],
  tolerance: ['SHARE', 'how much worse than the baseline a figure may be (default 0.2)'],
} as const satisfies Record<string, readonly [string | undefined, string, string?]>;

export const usage = `Usage: npm run lab -- load SCENARIO [options]

Runs a load scenario: a name from --list, or the path of a copy of one (apps/lab/scenarios/*.json).
With --sessions and --duration no scenario is needed.

${Object.entries(flags)
  .map(([name, [value, text, short]]: [string, readonly [string | undefined, string, string?]]) => {
    const flag = `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`;
    return `  ${flag.padEnd(28)} ${text}`;
  })
  .join('\n')}

A run has a tenant of its own, which is removed after it, when an administrator's password is at hand: ADMIN_EMAIL and
ADMIN_PASSWORD_FILE (default: what npm start has put into .sluice). What it needs of the machine is said before it begins.

Exit code: 0 passed, 99 thresholds missed or worse than the baseline, 2 wrong usage, 130 interrupted, 1 anything else.
`;

/** @throws UsageError naming what cannot be used */
export function readFlags(args: readonly string[]): { list: boolean; help: boolean; request(): LoadRequest } {
  const { values, positionals } = parseFlags(args);
  return {
    list: values.list === true,
    help: values.help === true,
    request() {
      const server = values.server ?? process.env['SLUICE_URL'] ?? `http://127.0.0.1:${GATEWAY_PORT}`;
      const { origin, loopback } = checkTarget(server, values['i-own-this-target']);
      if (loopback && !values.forwarded && new URL(origin).hostname === '[::1]') {
        throw new UsageError(`${server}: source addresses are of IPv4; use 127.0.0.1 or --forwarded`);
      }
      const scenario = scenarioOf(positionals, values);
      return {
        scenario,
        options: {
          baseUrl: origin,
          timeScale: number('time-scale', values['time-scale'], 1, 1, 100_000),
          scaleAddresses: values['scale-addresses'] === true,
          // Source addresses of loopback reach this machine only.
          addressMode: values.forwarded || !loopback ? 'forwarded' : 'source',
          seed: number('seed', values.seed, 1, 0, 2 ** 32 - 1),
          callTimeoutMs: number('timeout', values.timeout, 30, 0.1, 3600) * 1000,
        },
        folder: values.out,
        baseline: values.baseline,
        tolerance: number('tolerance', values.tolerance, 0.2, 0, 100),
        services: servicesOf(values.watch, loopback ? origin : undefined),
        operator: values.tenants === undefined && namesNoTenant(scenario) ? operatorFor(loopback) : undefined,
        here: loopback,
      };
    },
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        server: { type: 'string', short: 's' },
        out: { type: 'string', short: 'o' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        sessions: { type: 'string' },
        scenario: { type: 'string' },
        duration: { type: 'string' },
        'ip-count': { type: 'string' },
        rate: { type: 'string' },
        users: { type: 'string' },
        tenants: { type: 'string' },
        messages: { type: 'string' },
        'time-scale': { type: 'string' },
        'scale-addresses': { type: 'boolean' },
        forwarded: { type: 'boolean' },
        'i-own-this-target': { type: 'string' },
        seed: { type: 'string' },
        timeout: { type: 'string' },
        watch: { type: 'string', multiple: true },
        baseline: { type: 'string' },
        tolerance: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

type Values = ReturnType<typeof parseFlags>['values'];

function scenarioOf(positionals: readonly string[], values: Values): Scenario {
  const names = [...positionals, ...(values.scenario === undefined ? [] : [values.scenario])];
  if (names.length > 1) throw new UsageError(`one scenario at a time: ${names.join(' ')}`);
  const [name] = names;
  if (name === undefined && (values.sessions === undefined || values.duration === undefined)) {
    throw new UsageError('name a scenario, or give --sessions and --duration');
  }
  const { name: baseName, ...content } = readScenario(name ?? 'light_load');
  const custom = name === undefined && {
    title: `A run of its own: ${values.sessions} sessions for ${values.duration}`,
    addresses: CUSTOM_ADDRESSES,
  };
  const override = {
    ...(values.sessions !== undefined && { sessions: Number(values.sessions) }),
    ...(values.duration !== undefined && { minutes: minutesOf(values.duration) }),
    ...(values['ip-count'] !== undefined && { addresses: Number(values['ip-count']) }),
    ...(values.rate !== undefined && { messages_per_minute_per_address: Number(values.rate) }),
    ...(values.users !== undefined && { users: values.users }),
    ...(values.tenants !== undefined && { tenants: values.tenants.split(',').map((tenant) => ({ name: tenant })) }),
    ...(values.messages !== undefined && { messages: readMessages(values.messages) }),
  };
  return parseScenario(name === undefined ? 'custom' : baseName, { ...content, ...custom, ...override }, 'options');
}

function namesNoTenant({ tenants }: Scenario): boolean {
  return tenants.length === 1 && tenants[0]!.name === 'default';
}

/** The password that `npm start` wrote is for this machine: another one gets only what was named for it. */
function operatorFor(loopback: boolean): OperatorAccount | undefined {
  const account = operatorAccount(process.env);
  const named = Boolean(process.env['ADMIN_PASSWORD_FILE']);
  if (named && !existsSync(account.passwordFile)) {
    throw new UsageError(`ADMIN_PASSWORD_FILE=${account.passwordFile}: there is no such file`);
  }
  return named || (loopback && existsSync(account.passwordFile)) ? account : undefined;
}

/** Client addresses of a run without a scenario. */
const CUSTOM_ADDRESSES = 10;
const unitMinutes = { s: 1 / 60, m: 1, h: 60 } as const;

/** @throws UsageError for anything but a number, of seconds, with or without another unit */
function minutesOf(text: string): number {
  const [, amount, unit = 's'] = /^(\d+(?:\.\d+)?)\s*([smh])?$/.exec(text) ?? [];
  if (amount === undefined) {
    throw new UsageError(`--duration ${text}: expected seconds, or a time with a unit such as 90s, 60m or 2h`);
  }
  return Number(amount) * unitMinutes[unit as keyof typeof unitMinutes];
}

function readMessages(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split(/\r?\n/)
      .filter((line) => line !== '');
  } catch (error) {
    throw new UsageError(`--messages ${path}: ${(error as Error).message}`);
  }
}

function number(flag: string, text: string | undefined, usual: number, min: number, max: number): number {
  if (text === undefined) return usual;
  const value = text === '' ? Number.NaN : Number(text);
  if (!(value >= min && value <= max))
    throw new UsageError(`--${flag} ${text}: expected a number from ${min} to ${max}`);
  return value;
}

function servicesOf(given: readonly string[] | undefined, local: string | undefined): WatchedService[] {
  const named = given ?? process.env['LAB_WATCH']?.split(/\s+/).filter((text) => text !== '');
  if (named) return named.map(watched);
  return local === undefined ? [] : localServices(local);
}

function watched(text: string): WatchedService {
  const [name, url] = text.split(/=(.*)/s);
  if (!name || !url || !URL.canParse(url)) throw new UsageError(`--watch ${text}: expected NAME=URL`);
  return { name, url };
}
