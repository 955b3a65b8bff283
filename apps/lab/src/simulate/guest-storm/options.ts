import { parseArgs } from 'node:util';
import { UsageError } from '../../load/scenario.js';

/** What `simulate guest-storm` was asked for. */
export interface GuestStormOptions {
  /** Where the API begins, with its path. */
  readonly apiUrl: string;
  readonly processes: number;
  readonly pauseSeconds: number;
  /** Whether the same occasions are tried without the client, too. */
  readonly compare: boolean;
  readonly output: string | undefined;
  readonly jsonOnly: boolean;
}

export const guestStormUsage = `Usage: npm run lab -- simulate guest-storm [options]

97 moments at which a program asks for a guest token without need: 59 tests by hand, 30 calls that failed (retried without
delay, checked in advance, once because the budget is spent), 8 restarts, two of them on empty disks; in three bursts, by several
processes at once. With the client they become fewer than ten new tokens an hour, and the report says by what each was
avoided. Then the same without it: every moment asks, as a device of its own. What calls fail with is made up here; everything
else is asked of the gateway.

  --base-url URL     BASE_URL    the gateway (default: http://127.0.0.1:8083)
  --processes N      PROCESSES   at once, 1 to 16 (default: 4)
  --pause SECONDS    PAUSE       between the bursts (default: 0; with 61 a device may ask again)
  --no-compare                   only with the client
  --output FILE      OUTPUT      writes the JSON there too
  --json                         prints the JSON alone

Exit code: 0 passed (fewer than ten new tokens, none refused by the server, every moment accounted for), 99 not passed,
2 wrong usage, 1 anything else.
`;

/** @throws UsageError naming the flag, its value and what was expected */
export function readGuestStormOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): GuestStormOptions | 'help' {
  const values = parse(args);
  if (values.help) return 'help';
  const { 'base-url': given = environment['BASE_URL'] || 'http://127.0.0.1:8083' } = values;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new UsageError(`--base-url ${given}: expected http://host:port`);
  // The source addresses are of IPv4.
  if (url.hostname === 'localhost') url.hostname = '127.0.0.1';
  if (url.pathname === '/') url.pathname = '/api/v1';
  return {
    apiUrl: url.href.replace(/\/$/, ''),
    processes: whole('processes', values.processes ?? (environment['PROCESSES'] || '4'), 1, 16),
    pauseSeconds: whole('pause', values.pause ?? (environment['PAUSE'] || '0'), 0, 3600),
    compare: !values['no-compare'],
    output: values.output ?? (environment['OUTPUT'] || undefined),
    jsonOnly: values.json === true,
  };
}

function whole(name: string, given: string, min: number, max: number): number {
  const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${name} ${given}: expected a whole number from ${min} to ${max}`);
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        'base-url': text,
        processes: text,
        pause: text,
        output: text,
        'no-compare': flag,
        json: flag,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
