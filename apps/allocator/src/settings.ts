import { choice, ConfigurationError, flag, integer, port, type Setting, type SettingsOf } from '@sluice/config';
import { databaseUrl, serviceSettings } from '@sluice/service';
import { weekdays } from './accounts/units.js';
import { strategies } from './batch/operation.js';
import { INT64_MAX, NODE_ID, TTL_SECONDS_MAX } from './allocations/limits.js';

/** What becomes of a settlement above its reservation. */
export const overruns = ['charge', 'reject'] as const;

/** A node as the settings name it. */
export interface ConfiguredNode {
  readonly nodeId: string;
  /** Undefined: NODE_BUDGET. */
  readonly capacity: bigint | undefined;
}

/** A whole number of tokens, exact up to 2^63−1. */
function tokens(describe: string, fallback: string, min = 1n): Setting<bigint> {
  return {
    describe,
    expect: `a whole number from ${min} to ${INT64_MAX}`,
    fallback,
    secret: false,
    absent: 'required',
    parse: (text) => parseTokens(text, min),
  };
}

function parseTokens(text: string, min = 1n): bigint | undefined {
  if (!/^\d{1,19}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value >= min && value <= INT64_MAX ? value : undefined;
}

/** More than this is rather a capacity in the wrong place. */
const NODES_COUNTED_MAX = 1000;

const nodes: Setting<readonly ConfiguredNode[]> = {
  describe:
    'The nodes that hold budget, each with its capacity or with NODE_BUDGET; those that are missing are added at the start.',
  expect:
    'how many (1 to 1000: node-1, node-2, …), or names separated by commas, each once and with `:capacity` if wanted, for example node-1,node-2:500000',
  fallback: 'node-1,node-2,node-3',
  secret: false,
  absent: 'required',
  parse(text) {
    if (/^[\d.]+$/.test(text)) return countedNodes(text);
    const parsed: ConfiguredNode[] = [];
    for (const part of text.split(',').map((piece) => piece.trim())) {
      const [nodeId = '', capacityText, ...rest] = part.split(':');
      const capacity = capacityText === undefined ? undefined : parseTokens(capacityText);
      if (!NODE_ID.test(nodeId) || rest.length > 0) return undefined;
      if (capacityText !== undefined && capacity === undefined) return undefined;
      if (parsed.some((node) => node.nodeId === nodeId)) return undefined;
      parsed.push({ nodeId, capacity });
    }
    return parsed;
  },
};

/** `NODES=5`: five nodes. */
function countedNodes(text: string): ConfiguredNode[] | undefined {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > NODES_COUNTED_MAX) return undefined;
  return Array.from({ length: count }, (_, index) => ({ nodeId: `node-${index + 1}`, capacity: undefined }));
}

/** The settings of the allocator. */
export function allocatorSettings(environment: NodeJS.ProcessEnv = process.env) {
  return {
    ...serviceSettings,
    ALLOCATOR_PORT: port('Port of the allocator.', 50052),
    ALLOCATOR_ADMIN_PORT: port('Admin port of the allocator.', 9052),
    ALLOCATOR_DATABASE_URL: databaseUrl('ALLOCATOR_DATABASE_URL', environment),
    NODES: nodes,
    NODE_BUDGET: tokens('Tokens of a node for which NODES gives none.', '1000000'),
    ALLOC_STRATEGY: choice(
      'How a node is chosen: the least remaining that suffices, or the most. A change of this setting overrides what was set by `POST /strategy`.',
      strategies,
      'best',
    ),
    LARGE_REQUEST_TOKENS: tokens(
      'Requests of more tokens than this go to the node with the most remaining.',
      '100000',
      0n,
    ),
    ALLOC_GUESTS: flag(
      'Whether guests may allocate by themselves. A service may always allocate for a guest whom it serves.',
      false,
    ),
    ALLOC_OPEN: flag(
      'Whether who is not signed in at the gateway may do everything here, as `everyone` of DEFAULT_TENANT with the role admin: for an ' +
        'allocator alone, without the user service (`config/allocator.yaml`), in a network that is trusted.',
      false,
    ),
    ALLOC_LEASE_DEFAULT_SECONDS: integer(
      'The lease of an allocation that asks for none; 0: none, so that its tokens return only when it is freed.',
      3600,
      { min: 0, max: TTL_SECONDS_MAX },
    ),
    ALLOC_LEASE_MAX_SECONDS: integer(
      'The longest lease that can be asked for, and the longest by which one can be extended at a time.',
      86_400,
      { min: 1, max: TTL_SECONDS_MAX },
    ),
    ALLOC_CALLER_TOKENS_MAX: tokens(
      'Tokens that one caller holds at most, reserved and settled together; 0: any number.',
      '0',
      0n,
    ),
    ALLOC_CALLER_REQUESTS_MAX: integer(
      'Allocations in flight, which are neither settled nor freed, that one caller has at most; 0: any number.',
      0,
      { min: 0, max: 1_000_000_000 },
    ),
    ALLOC_OVERRUN: choice(
      'What becomes of a settlement above its reservation that is charged to accounts: charged in full, or refused with 400.',
      overruns,
      'charge',
    ),
    ALLOC_GUEST_TOKENS_PER_DAY: tokens(
      'Tokens a day (UTC) for all guests of a tenant together, where it has accounts: the limit of its account `guests` when that is made; 0: none.',
      '1000000',
      0n,
    ),
    ALLOC_WEEK_START: choice('The first day of a week for limits that are made from now on.', weekdays, 'monday'),
    ALLOC_BATCH_MAX: integer('Operations that are committed together at most.', 256, { min: 1, max: 4096 }),
    ALLOC_WAITING_MAX: integer('Calls that wait for a commit at most; more are refused with 503.', 10_000, {
      min: 1,
      max: 1_000_000,
    }),
    ALLOC_QUEUE_MS: integer('A call that could not be sent to Postgres for this long is refused with 503.', 2000, {
      min: 10,
      max: 60_000,
    }),
    ALLOC_LOCK_TIMEOUT_MS: integer('How long a batch waits for a node that another transaction holds.', 10_000, {
      min: 10,
      max: 600_000,
    }),
    ALLOCATION_HISTORY_HOURS: integer(
      'Hours for which a freed or expired allocation is remembered, and its request id with it.',
      168,
      { min: 1, max: 87_600 },
    ),
    LEDGER_MONTHS: integer(
      'Whole months of the ledger that are kept before they are carried forward as balances.',
      13,
      {
        min: 1,
        max: 1200,
      },
    ),
    USAGE_INTERVAL_MS: integer('How often a stream that watches usage looks for a change.', 500, {
      min: 20,
      max: 60_000,
    }),
  };
}

/** @throws ConfigurationError for settings that contradict each other */
export function checkLeases({ ALLOC_LEASE_DEFAULT_SECONDS: usual, ALLOC_LEASE_MAX_SECONDS: most }: AllocatorSettings) {
  if (usual <= most) return;
  throw new ConfigurationError([
    `ALLOC_LEASE_DEFAULT_SECONDS=${usual}: expected at most ALLOC_LEASE_MAX_SECONDS, which is ${most}`,
  ]);
}

export type AllocatorSettings = SettingsOf<ReturnType<typeof allocatorSettings>>;

/** The provider of {@link AllocatorSettings}. */
export const SETTINGS = Symbol('settings');
