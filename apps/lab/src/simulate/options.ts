import { parseArgs } from 'node:util';
import { localServices } from '../load/local-services.js';
import { UsageError } from '../load/scenario.js';

/** What `simulate token-expiry` was asked for. */
export interface ExpiryOptions {
  /** Where the API begins, with its path, e.g. `http://127.0.0.1:8083/api/v1`. */
  readonly apiUrl: string;
  readonly userId: string;
  readonly initialToken: string | undefined;
  readonly refreshToken: string | undefined;
  /** Calls of one client under way at once. */
  readonly concurrency: number;
  /** Calls of one client in a round. */
  readonly batchSize: number;
  readonly rounds: number;
  /** Asked in turn: paths under the API. */
  readonly endpoints: readonly string[];
  /** Users that are made for the run, each with a source address; undefined: the one whose tokens were given. */
  readonly clients: number | undefined;
  /** Where the gateway tells what it refuses; `asked`: somebody has named it, so that it must be there. */
  readonly metrics: { readonly url: string; readonly asked: boolean } | undefined;
  readonly logFile: string | undefined;
  readonly settleSeconds: number;
  readonly output: string | undefined;
  readonly jsonOnly: boolean;
}

/** Flag → variable, value's name, default, meaning; the help is made of it. */
const flags = {
  'base-url': ['BASE_URL', 'URL', 'http://127.0.0.1:8083', 'the gateway'],
  'user-id': ['USER_ID', 'ID', 'test-user', 'whose the made-up expired token is'],
  'initial-token': [
    'INITIAL_TOKEN',
    'TOKEN',
    undefined,
    'the access token that is refused (default: a made-up one that has expired, as in life; one that is merely wrong counts as a guess)',
  ],
  'refresh-token': ['REFRESH_TOKEN', 'TOKEN', undefined, 'without one every call ends with its 401'],
  concurrency: ['CONCURRENCY', 'N', '6', 'calls of a client under way at once'],
  'batch-size': ['BATCH_SIZE', 'N', '6', 'calls of a client in a round: the endpoints in turn, repeated'],
  rounds: ['ROUNDS', 'N', '1', 'times that a client makes its calls; its token has expired before the first'],
  endpoints: ['ENDPOINTS', 'PATHS', undefined, 'paths under /api/v1, separated by commas'],
  clients: [
    'CLIENTS',
    'N',
    undefined,
    'makes N users, each with a session and a source address (127.1.0.1 onward) of its own',
  ],
  metrics: [
    'METRICS_URL',
    'URL',
    undefined,
    'the gateway’s /metrics: are refusals going on after the run? (default: the admin port beside a gateway on this machine)',
  ],
  log: ['GATEWAY_LOG', 'FILE', undefined, 'the gateway’s log, for the same question'],
  settle: ['SETTLE', 'SECONDS', '3', 'how long to look for that'],
  output: ['OUTPUT', 'FILE', undefined, 'writes the JSON there too'],
} as const satisfies Record<string, readonly [string, string, string | undefined, string]>;

type Flag = keyof typeof flags;

const DEFAULT_ENDPOINTS = ['/me', '/metrics', '/me/sessions'];

export const usage = `Usage: npm run lab -- simulate token-expiry [options]

All of a client's calls meet an expired token at once. Without a refresh token every call ends with 401 and none
with 429; with one there is one refresh, and every call succeeds, when it is sent again and in the further rounds.

${Object.entries(flags)
  .map(([name, [variable, value, usual, text]]: [string, readonly [string, string, string | undefined, string]]) => {
    const fallback = usual === undefined ? '' : ` (default: ${usual})`;
    return `  ${`--${name} ${value}`.padEnd(24)} ${variable.padEnd(14)} ${text}${fallback}`;
  })
  .join('\n')}
  --json                                  prints the JSON alone

Default endpoints: ${DEFAULT_ENDPOINTS.join(', ')}.

Exit code: 0 passed (at most 5 % of the answers are 429, and at most one refresh a client, and
nobody is refused after the run), 99 not passed,
2 wrong usage, 1 anything else.
`;

/** @throws UsageError naming the flag, its value and what was expected */
export function readOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ExpiryOptions | 'help' {
  const values = parse(args);
  if (values.help === true) return 'help';
  const text = (name: Flag): string | undefined => {
    const [variable, , usual] = flags[name];
    return (values[name] as string | undefined) ?? (environment[variable] || undefined) ?? usual;
  };
  const whole = (name: Flag, max: number): number | undefined => {
    const given = text(name);
    if (given === undefined) return undefined;
    const value = /^\d+$/.test(given) ? Number(given) : 0;
    if (value < 1 || value > max) throw new UsageError(`--${name} ${given}: expected a whole number from 1 to ${max}`);
    return value;
  };
  const settle = Number(text('settle'));
  if (!(settle >= 0 && settle <= 600)) throw new UsageError(`--settle ${text('settle')}: expected 0 to 600 seconds`);
  const clients = whole('clients', 10_000);
  const apiUrl = apiUrlOf(text('base-url') as string, clients !== undefined);
  return {
    apiUrl,
    userId: text('user-id') as string,
    initialToken: text('initial-token'),
    refreshToken: text('refresh-token'),
    concurrency: whole('concurrency', 1_000) as number,
    batchSize: whole('batch-size', 10_000) as number,
    rounds: whole('rounds', 1_000) as number,
    endpoints: endpointsOf(text('endpoints')),
    clients,
    metrics: metricsOf(text('metrics'), apiUrl),
    logFile: text('log'),
    settleSeconds: settle,
    output: text('output'),
    jsonOnly: values.json === true,
  };
}

function parse(args: readonly string[]) {
  try {
    const text = { type: 'string' } as const;
    return parseArgs({
      args: [...args],
      options: {
        ...(Object.fromEntries(Object.keys(flags).map((name) => [name, text])) as Record<Flag, typeof text>),
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function apiUrlOf(given: string, needsLoopback: boolean): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new UsageError(`--base-url ${given}: expected http://host:port`);
  // The source addresses are of IPv4.
  if (needsLoopback && url.hostname === 'localhost') url.hostname = '127.0.0.1';
  if (needsLoopback && !url.hostname.startsWith('127.')) {
    throw new UsageError(
      `--base-url ${given}: with --clients the addresses are this machine's, so must be the gateway`,
    );
  }
  if (url.pathname === '/') url.pathname = '/api/v1';
  return url.href;
}

function metricsOf(asked: string | undefined, apiUrl: string): ExpiryOptions['metrics'] {
  if (asked !== undefined) return { url: asked, asked: true };
  const { hostname, origin } = new URL(apiUrl);
  const local = hostname === 'localhost' || hostname.startsWith('127.');
  const url = local ? localServices(origin).find(({ name }) => name === 'gateway')?.url : undefined;
  return url === undefined ? undefined : { url, asked: false };
}

function endpointsOf(given: string | undefined): readonly string[] {
  const endpoints = given === undefined ? DEFAULT_ENDPOINTS : given.split(',').map((path) => path.trim());
  const wrong = endpoints.find((path) => !path.startsWith('/'));
  if (wrong !== undefined)
    throw new UsageError(`--endpoints: ${JSON.stringify(wrong)} is no path with a leading slash`);
  return endpoints;
}
