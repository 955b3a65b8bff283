import { parseArgs } from 'node:util';
import { UsageError } from '../load/scenario.js';
import { checkTarget } from '../load/target.js';

/** What `simulate login-storm` was asked for. */
export interface StormOptions {
  /** Of the gateway. */
  readonly origin: string;
  readonly tenants: readonly [flooding: string, other: string];
  readonly clients: number;
  readonly seconds: number;
  readonly output: string | undefined;
  readonly jsonOnly: boolean;
}

export const stormUsage = `Usage: npm run lab -- simulate login-storm [options]

One tenant's logins rise from the usual rate to 12 500 / 800 of it, in proportion to what this machine can do, and another tenant
logs in as always. Each client has a source address of its own, so the gateway must be on this machine.

  --base-url URL         BASE_URL     the gateway (default: http://127.0.0.1:8083)
  --tenants A,B          TENANTS      the one that floods, and the other (default: lab-storm-a,lab-storm-b); made when they are not there
  --clients N            CLIENTS      of the flood, one login under way each (default: 600)
  --seconds N            SECONDS      how long the storm lasts (default: 10)
  --output FILE          OUTPUT       writes the JSON there too
  --json                              prints the JSON alone

An administrator makes the tenants: ADMIN_EMAIL (default: admin@sluice.local), ADMIN_PASSWORD_FILE (default:
.sluice/secrets/admin-password, as \`npm start\` writes it).

Exit code: 0 passed (every login of the other tenant was taken, its p95 less than doubled, and no login of the flood waited for its
deadline), 99 not passed, 2 wrong usage, 1 anything else.
`;

const CLIENTS_MAX = 40_000;
const SECONDS_MAX = 600;

/** @throws UsageError naming the flag, its value and what was expected */
export function readStormOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): StormOptions | 'help' {
  const values = parse(args);
  if (values.help === true) return 'help';
  const text = (name: 'base-url' | 'tenants' | 'clients' | 'seconds' | 'output'): string | undefined =>
    values[name] ?? (environment[name.replace('-', '_').toUpperCase()] || undefined);
  const whole = (name: 'clients' | 'seconds', usual: number, max: number): number => {
    const given = text(name) ?? String(usual);
    const value = /^\d+$/.test(given) ? Number(given) : 0;
    if (value < 1 || value > max) throw new UsageError(`--${name} ${given}: expected a whole number from 1 to ${max}`);
    return value;
  };
  const target = text('base-url') ?? 'http://127.0.0.1:8083';
  const { origin, loopback } = checkTarget(target, undefined);
  if (!loopback)
    throw new UsageError(`--base-url ${target}: the source addresses are this machine's, so must be the gateway`);
  const tenants = (text('tenants') ?? 'lab-storm-a,lab-storm-b').split(',').map((tenant) => tenant.trim());
  const [flooding, other] = tenants;
  if (tenants.length !== 2 || flooding === other || tenants.some((tenant) => !/^[a-z0-9-]{1,63}$/.test(tenant))) {
    throw new UsageError(`--tenants ${tenants.join(',')}: expected two tenants, A,B`);
  }
  return {
    origin,
    tenants: [flooding!, other!],
    clients: whole('clients', 600, CLIENTS_MAX),
    seconds: whole('seconds', 10, SECONDS_MAX),
    output: text('output'),
    jsonOnly: values.json === true,
  };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        'base-url': text,
        tenants: text,
        clients: text,
        seconds: text,
        output: text,
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
