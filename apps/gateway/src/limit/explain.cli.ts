import { parseArgs } from 'node:util';
import { readSettings } from '@sluice/config';
import { settings } from '../settings.js';

const usage = `Which limits a call would meet at the running gateway, and their state; spends nothing.

  npm run limits -- explain METHOD PATH [--user ID] [--tenant NAME] [--guest] [--key ID] [--ip ADDRESS] [--host NAME] [--json]

METHOD and PATH are those of a request, or POST and /package.Service/Method of a gRPC call. Without --user the caller is not signed in,
and --tenant is what its X-Tenant-ID or message says.

How often a device gets a new guest token is the user service's affair: npm run guests -- limits.

Asks the admin port (GATEWAY_ADMIN_PORT, or what PORT_OFFSET makes of it; ADMIN_HOST).`;

interface Explanation {
  readonly rpc: string | null;
  readonly note: string | null;
  readonly policies: readonly {
    readonly policy: string;
    readonly dimensions: readonly string[];
    readonly limit: number;
    readonly window_seconds: number;
    readonly remaining: number;
    readonly retry_after_ms: number;
    readonly shadow: boolean;
    readonly refuses: boolean;
  }[];
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        user: { type: 'string' },
        tenant: { type: 'string' },
        guest: { type: 'boolean' },
        key: { type: 'string' },
        ip: { type: 'string' },
        host: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    return fail(`${(error as Error).message}\n\n${usage}`, 2);
  }
}

const { positionals, values } = readArguments();
const [command, method, path] = positionals;
if (values.help) {
  console.log(usage);
  process.exit(0);
}
if (command !== 'explain' || method === undefined || path === undefined) fail(usage, 2);

const { PORT_OFFSET } = process.env;
const { GATEWAY_ADMIN_PORT: port, ADMIN_HOST } = readSettings(settings);
// As npm start moves it.
const GATEWAY_ADMIN_PORT = process.env['GATEWAY_ADMIN_PORT'] ? port : port + (Number(PORT_OFFSET) || 0);
const query = new URLSearchParams({ method: method!, path: path! });
for (const name of ['user', 'tenant', 'key', 'ip', 'host'] as const)
  if (values[name] !== undefined) query.set(name, values[name]);
if (values.guest) query.set('guest', 'true');
const url = `http://${ADMIN_HOST}:${GATEWAY_ADMIN_PORT}/limits/explain?${query}`;
const response = await fetch(url).catch((error: Error) =>
  fail(
    `The gateway's admin port does not answer at ${ADMIN_HOST}:${GATEWAY_ADMIN_PORT} (${String(error.cause ?? error)}). Is the gateway running? PORT_OFFSET and GATEWAY_ADMIN_PORT say where.`,
    1,
  ),
);
const body = await response.text();
if (!response.ok)
  fail(response.status === 400 ? messageOf(body) : `The gateway answered ${response.status}: ${body}`, 1);
if (values.json) console.log(body);
else print(JSON.parse(body) as Explanation);

function print({ rpc, note, policies }: Explanation): void {
  console.log(`${method!.toUpperCase()} ${path} → ${rpc ?? 'no route'}`);
  if (note) console.log(note);
  if (policies.length === 0) console.log('No policy applies.');
  for (const each of policies) {
    const state = each.refuses ? `refuses for ${(each.retry_after_ms / 1000).toFixed(1)} s` : `${each.remaining} left`;
    const by = each.dimensions.join(' and ');
    const shadow = each.shadow ? ' (shadow: counted, not enforced)' : '';
    console.log(`  ${each.policy}: ${each.limit} in ${each.window_seconds} s for each ${by}: ${state}${shadow}`);
  }
}

function messageOf(body: string): string {
  return (JSON.parse(body) as { message: string }).message;
}

function fail(text: string, code: number): never {
  console.error(text);
  process.exit(code);
}
