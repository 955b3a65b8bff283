import { clientClass, parseAddress, unavailable, type DatabaseAddress } from '@sluice/storage';
import type pg from 'pg';
import { boolArray, int4Array, int8Array, textArray } from './array-bytes.js';
import { readWords } from './array-text.js';
import { BatchFailure, type BatchExecutor, type BatchResult, type FailureKind } from './batch-executor.js';
import { periods, units } from '../accounts/units.js';
import {
  type LimitState,
  kinds,
  NO_ROOM,
  resultsByCode,
  strategies,
  type AllocationRecord,
  type Operation,
  type Outcome,
} from './operation.js';

export interface PostgresExecutorOptions {
  readonly url: string;
  /** A batch that waits longer than this for a node that another transaction holds is rolled back; in milliseconds. */
  readonly lockTimeoutMs: number;
  /** A batch without an answer after this long counts as lost with its connection; in milliseconds. */
  readonly answerTimeoutMs: number;
  /** Leases ended at most by one batch. */
  readonly sweepMax: number;
  /** Whether what is settled for an account above its reservation is charged, instead of refused. */
  readonly overrun?: boolean;
  /** Told of settlements above their reservation. */
  readonly onOverrun?: (count: number) => void;
}

const CONNECT_TIMEOUT_MS = 2000;
/** After a request that was not new, how many batches expect more of them. */
const LOOK_UPS = 100;

/** Everything comes as the text that Postgres sent. */
const rawTypes = { getTypeParser: () => (value: string) => value };

/**
 * The settings of the connection. Plans are made once, maybe while the tables are empty, and must suit them when they are large:
 * every access is by an index.
 */
const sessionSettings = {
  search_path: 'budget,public',
  // What was committed while a batch waited for its nodes must be seen by it.
  default_transaction_isolation: 'read\\ committed',
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_bitmapscan: 'off',
  jit: 'off',
};

type Row = Record<
  | 'at_us'
  | 'next_expiry_us'
  | 'more_due'
  | 'names'
  | 'codes'
  | 'places'
  | 'place_of_all'
  | 'strategies'
  | 'largest'
  | 'ex_at'
  | 'ex_nodes'
  | 'ex_states'
  | 'ex_strategies'
  | 'ex_counts'
  | 'ex_settled'
  | 'ex_expires'
  | 'ex_created'
  | 'ex_costs'
  | 'ex_settled_costs'
  | 'ex_accounts'
  | 'refused_by'
  | 'warned_at'
  | 'warned_rows'
  | 'about'
  | 'leaf_accounts'
  | 'overruns',
  string | null
>;

/**
 * `apply_operations` over one connection of its own, which is opened again after it was lost. Batches that are given to it while one is
 * under way are sent at once, and Postgres takes them in that order.
 */
export class PostgresExecutor implements BatchExecutor {
  private client: Promise<pg.Client> | undefined;
  private closed = false;
  /** Batches that look existing allocations up before placing new ones, although none need exist. */
  private lookUps = 0;

  private readonly address: DatabaseAddress;
  private readonly Client: ReturnType<typeof clientClass>;

  constructor(private readonly options: PostgresExecutorOptions) {
    const address = parseAddress(options.url);
    if (address === undefined) throw new TypeError('not an address of Postgres');
    this.address = address;
    this.Client = clientClass(address);
  }

  async apply(operations: readonly Operation[], wait: boolean): Promise<BatchResult> {
    const allNew = this.lookUps === 0 && operations.every(({ kind }) => kind === 'allocate');
    if (this.lookUps > 0) this.lookUps--;
    try {
      const result = await this.call(operations, wait, !allNew);
      return allNew ? await this.lookUpRefused(operations, wait, result) : result;
    } catch (error) {
      if (!(allNew && error instanceof BatchFailure && error.kind === 'rolled back')) throw error;
      // One of them exists. Whoever repeats requests will do it more than once.
      this.lookUps = LOOK_UPS;
      return this.call(operations, wait, true);
    }
  }

  /**
   * Without a look-up, a repeated request that finds no room looks like a new one. So those that were refused are asked once
   * more, with it. Should that fail, the whole batch may be repeated: what was placed is found then.
   */
  private async lookUpRefused(
    operations: readonly Operation[],
    wait: boolean,
    first: BatchResult,
  ): Promise<BatchResult> {
    const noRoom = (outcome: Outcome) => NO_ROOM.has(outcome.result);
    const refused = operations.filter((_, index) => noRoom(first.outcomes[index] as Outcome));
    if (refused.length === 0) return first;
    const second = await this.call(refused, wait, true);
    let next = 0;
    const outcomes = first.outcomes.map((outcome) => {
      if (!noRoom(outcome)) return outcome;
      const again = second.outcomes[next++] as Outcome;
      // Refused twice: the first time in its turn, before what came after it in the batch.
      return again.result === outcome.result ? outcome : again;
    });
    return { outcomes, moreDue: second.moreDue };
  }

  async close(): Promise<void> {
    this.closed = true;
    const client = await this.client?.catch(() => undefined);
    this.client = undefined;
    await client?.end().catch(() => undefined);
  }

  private async call(operations: readonly Operation[], wait: boolean, lookUp: boolean): Promise<BatchResult> {
    const client = await this.connection();
    const leaves = leavesOf(operations);
    const query = {
      name: 'apply_operations',
      text: `select * from budget.apply_operations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, false, $14, $15, $16, $17)`,
      values: [...parameters(operations, leaves), this.options.overrun ?? true, lookUp, wait, this.options.sweepMax],
      types: rawTypes,
    };
    let late: NodeJS.Timeout | undefined;
    try {
      const answer = await Promise.race([
        client.query<Row>(query),
        new Promise<never>((_, reject) => {
          late = setTimeout(() => reject(new Error('no answer in time')), this.options.answerTimeoutMs);
        }),
      ]);
      const row = answer.rows[0] as Row;
      if (row.overruns !== null) this.options.onOverrun?.(Number(row.overruns));
      return readResult(operations, leaves, row);
    } catch (error) {
      const kind = failureKind(error);
      if (kind === 'unknown' || kind === 'not sent') this.drop(client);
      throw new BatchFailure(kind, error);
    } finally {
      clearTimeout(late);
    }
  }

  private async connection(): Promise<pg.Client> {
    if (this.closed) throw new BatchFailure('not sent', 'the service stops');
    this.client ??= this.connect();
    try {
      return await this.client;
    } catch (error) {
      this.client = undefined;
      throw new BatchFailure('not sent', error);
    }
  }

  private async connect(): Promise<pg.Client> {
    const settings = { ...sessionSettings, lock_timeout: String(this.options.lockTimeoutMs) };
    const client = new this.Client({
      connectionString: this.address.url,
      pipeline: true,
      application_name: 'sluice-allocator-batch',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      options: Object.entries(settings)
        .map(([name, value]) => `-c ${name}=${value}`)
        .join(' '),
    });
    // An idle connection that breaks is noticed here; one in use also fails its query.
    client.on('error', () => this.drop(client));
    await client.connect();
    return client;
  }

  private drop(client: pg.Client): void {
    void this.client?.then(
      (current) => {
        if (current === client) this.client = undefined;
      },
      () => undefined,
    );
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }
}

/** serialization_failure, deadlock_detected, exclusion_violation (the request id exists, or another replica inserted it at the same moment). */
const TRANSIENT = new Set(['40001', '40P01', '23P01']);
/** lock_not_available, query_canceled. */
const BLOCKED = new Set(['55P03', '57014']);

/** check_violation: of the ledger's default partition, when a month got its own while this batch wrote. */
const CHECK_VIOLATION = '23514';

function failureKind(error: unknown): FailureKind {
  const { code, severity, table } = error as { code?: string; severity?: string; table?: string };
  // FATAL and PANIC end the connection, and with it the knowledge of what happened.
  if (code === undefined || severity !== 'ERROR') return 'unknown';
  if (TRANSIENT.has(code) || (code === CHECK_VIOLATION && table === 'ledger_default')) return 'rolled back';
  if (BLOCKED.has(code)) return 'blocked';
  const notNow = unavailable(error);
  if (notNow === undefined) return 'refused';
  return notNow.reconnect ? 'not sent' : 'unavailable';
}

/** Who is charged, each once, and for every operation which of them (0: nobody). */
interface Leaves {
  readonly at: readonly number[];
  readonly tenants: readonly string[];
  readonly references: readonly string[];
}

function leavesOf(operations: readonly Operation[]): Leaves {
  const indexes = new Map<string, number>();
  const tenants: string[] = [];
  const references: string[] = [];
  const at = operations.map(({ kind, tenant, reference }) => {
    if (kind !== 'allocate' || reference === undefined) return 0;
    const key = `${tenant}\n${reference}`;
    let index = indexes.get(key);
    if (index === undefined) {
      index = tenants.push(tenant);
      references.push(reference);
      indexes.set(key, index);
    }
    return index;
  });
  return { at, tenants, references };
}

function parameters(operations: readonly Operation[], leaves: Leaves): (Buffer | null)[] {
  return [
    int4Array(operations.map((operation) => kinds[operation.kind])),
    textArray(operations.map((operation) => operation.tenant)),
    textArray(operations.map((operation) => operation.requestId)),
    textArray(operations.map((operation) => operation.subject)),
    boolArray(operations.map((operation) => operation.privileged)),
    int8Array(operations.map((operation) => operation.tokenCount)),
    int8Array(operations.map((operation) => operation.ttlSeconds)),
    operations.some(({ cost }) => cost !== undefined) ? int8Array(operations.map(costOf)) : null,
    operations.some(({ pool }) => pool !== undefined)
      ? textArray(operations.map(({ pool }) => pool ?? 'default'))
      : null,
    int4Array(leaves.at),
    textArray(leaves.tenants),
    textArray(leaves.references),
    operations.some(({ labels }) => labels !== undefined)
      ? textArray(operations.map(({ labels }) => labels ?? '{}'))
      : null,
  ];
}

function costOf({ kind, cost }: Operation): string {
  return cost ?? (kind === 'settle' ? '-1' : '0');
}

/** One row of `about`. */
interface About {
  readonly account: string;
  readonly account_id: number;
  readonly limit: number;
  readonly unit: number;
  readonly period: number;
  readonly hard: boolean;
  readonly used: string;
  readonly ceiling: string;
  readonly soft_percent: number;
  readonly ends_us: string | null;
}

function limitStates(about: string | null): ReadonlyMap<string, LimitState> {
  const states = new Map<string, LimitState>();
  if (about === null) return states;
  for (const [row, one] of Object.entries(JSON.parse(about) as Record<string, About>)) {
    states.set(row, {
      account: one.account,
      accountId: `acc_${one.account_id}`,
      limitId: `lim_${one.limit}`,
      unit: units[one.unit - 1] as LimitState['unit'],
      period: periods[one.period] as LimitState['period'],
      hard: one.hard,
      used: one.used,
      ceiling: one.ceiling,
      softPercent: one.soft_percent,
      endsUs: one.ends_us === null ? undefined : BigInt(one.ends_us),
    });
  }
  return states;
}

/** What an operation counts for in a unit. */
function amountOf({ tokenCount, cost }: Operation, unit: LimitState['unit']): string {
  if (unit === 'tokens') return tokenCount;
  return unit === 'micro_usd' ? (cost ?? '0') : '1';
}

function readResult(operations: readonly Operation[], leaves: Leaves, row: Row): BatchResult {
  const atUs = BigInt(row.at_us as string);
  const nodes = readWords(row.names);
  const places = readWords(row.places);
  const chosenBy = readWords(row.strategies);
  const largest = readWords(row.largest);
  const existing = readExisting(operations, row);
  const retryAfterMs =
    row.next_expiry_us === null ? undefined : Math.max(1, Number((BigInt(row.next_expiry_us) - atUs) / 1000n) + 1);
  const codes = row.codes === null ? undefined : readWords(row.codes);
  const accounts = readWords(row.leaf_accounts);
  const about = limitStates(row.about);
  const refusedBy = readWords(row.refused_by);
  const warnings = readWarnings(row, about);
  const allocationAt = (operation: Operation, index: number): AllocationRecord => {
    const nodeId = nodes[Number(row.place_of_all ?? places[index]) - 1] as string;
    const record =
      existing.get(index) ??
      fresh(operation, nodeId, chosenBy[index] ?? '1', atUs, accounts[(leaves.at[index] as number) - 1]);
    const crossed = warnings.get(index);
    return crossed === undefined ? record : { ...record, warnings: crossed };
  };
  const outcomes = operations.map((operation, index): Outcome => {
    const result = resultsByCode[Number(codes?.[index] ?? 0)];
    switch (result) {
      case 'done':
      case 'too much':
      case 'ended':
      case 'spent':
        return { result, allocation: allocationAt(operation, index) };
      case 'exhausted':
        return { result, largestRemaining: largest[index] as string, retryAfterMs };
      case 'too many tokens':
        return { result, callerRemaining: largest[index] as string };
      case 'limited': {
        const limit = about.get(refusedBy[index] as string) as LimitState;
        const asked = amountOf(operation, limit.unit);
        return { result, refusal: { ...limit, remaining: largest[index] as string, asked, atUs } };
      }
      case undefined:
        throw new Error(`apply_operations gave the code ${codes?.[index]}`);
      default:
        return { result };
    }
  });
  return { outcomes, moreDue: row.more_due === 't' };
}

/** The limits that operations have warned of, by the operation's position. */
function readWarnings(row: Row, about: ReadonlyMap<string, LimitState>): Map<number, LimitState[]> {
  const warnings = new Map<number, LimitState[]>();
  const rows = readWords(row.warned_rows);
  for (const [index, at] of readWords(row.warned_at).entries()) {
    const position = Number(at) - 1;
    const all = warnings.get(position) ?? [];
    all.push(about.get(rows[index] as string) as LimitState);
    warnings.set(position, all);
  }
  return warnings;
}

function fresh(
  operation: Operation,
  nodeId: string,
  strategy: string | undefined,
  atUs: bigint,
  account: string | undefined,
): AllocationRecord {
  return {
    requestId: operation.requestId,
    nodeId,
    tokenCount: operation.tokenCount,
    settled: '0',
    state: 1,
    strategy: strategyOf(strategy),
    expiresUs: operation.ttlSeconds === 0 ? undefined : atUs + BigInt(Math.abs(operation.ttlSeconds)) * 1_000_000n,
    createdUs: atUs,
    cost: operation.cost,
    accountId: accountIdOf(account),
  };
}

function accountIdOf(account: string | undefined): string | undefined {
  return account === undefined || account === '0' ? undefined : `acc_${account}`;
}

function readExisting(operations: readonly Operation[], row: Row): Map<number, AllocationRecord> {
  const found = new Map<number, AllocationRecord>();
  if (row.ex_at === null) return found;
  const positions = readWords(row.ex_at);
  const nodes = readWords(row.ex_nodes);
  const states = readWords(row.ex_states);
  const chosenBy = readWords(row.ex_strategies);
  const counts = readWords(row.ex_counts);
  const settled = readWords(row.ex_settled);
  const expires = readWords(row.ex_expires);
  const created = readWords(row.ex_created);
  const costs = readWords(row.ex_costs);
  const settledCosts = readWords(row.ex_settled_costs);
  const accounts = readWords(row.ex_accounts);
  for (let index = 0; index < positions.length; index++) {
    const position = Number(positions[index]) - 1;
    const expiresUs = expires[index] as string;
    found.set(position, {
      requestId: (operations[position] as Operation).requestId,
      nodeId: nodes[index] as string,
      tokenCount: counts[index] as string,
      settled: settled[index] as string,
      state: Number(states[index]),
      strategy: strategyOf(chosenBy[index]),
      expiresUs: expiresUs === '0' ? undefined : BigInt(expiresUs),
      createdUs: BigInt(created[index] as string),
      cost: costs[index],
      settledCost: settledCosts[index],
      accountId: accountIdOf(accounts[index]),
    });
  }
  return found;
}

function strategyOf(number: string | undefined) {
  const strategy = strategies[Number(number) - 1];
  if (strategy === undefined) throw new Error(`no strategy has the number ${number}`);
  return strategy;
}
