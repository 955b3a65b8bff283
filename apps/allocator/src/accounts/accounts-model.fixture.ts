import type { Operation } from '../batch/operation.js';
import type { Period, Unit } from './units.js';

/** A limit in the model; `rows` has what is used and what there is in each of its periods, by the period's name. */
export interface ModelLimit {
  readonly id: string;
  readonly account: string;
  readonly unit: Unit;
  readonly period: Period;
  readonly zone: string;
  readonly hard: boolean;
  readonly soft: number;
  amount: number;
  extra: number;
  extraUntil: number;
  readonly rows: Map<string, ModelRow>;
}

export interface ModelRow {
  readonly limit: ModelLimit;
  used: number;
  /** The amount and what was topped up. */
  ceiling: number;
  /** More until a time, as it was said last while the period ran. */
  extra: number;
  extraUntil: number;
}

interface Held {
  readonly tokens: number;
  readonly cost: number;
}

interface ModelAllocation extends Held {
  readonly node: ModelNode;
  readonly rows: readonly ModelRow[];
  readonly accounted: boolean;
  readonly window: number;
  settled: Held | undefined;
  state: 1 | 2 | 3 | 4;
  /** Seconds since the epoch; 0: never. */
  expires: number;
  readonly ttl: number;
}

export interface ModelNode {
  readonly id: string;
  readonly pool: string;
  readonly capacity: number;
  used: number;
  readonly windowSeconds: number;
  readonly windowLimit: number;
  windowStart: number;
  windowUsed: number;
  restUntil: number;
}

export interface ModelResult {
  readonly result: string;
  readonly node?: string;
  /** The limits that refuse: of those that reset last, any. */
  readonly refusing?: readonly ModelRow[];
  readonly remaining?: ReadonlyMap<string, number>;
}

/** What a limit's period is called at an instant: by the calendar of its zone, without the instants at which it begins and ends. */
export function periodName(period: Period, zone: string, at: number): string {
  if (period === 'total') return '';
  if (period === 'minute') return String(Math.floor(at / 60));
  if (period === 'hour') return String(Math.floor(at / 3600));
  const day = localDay(zone, at);
  if (period === 'day') return day;
  if (period === 'month') return day.slice(0, 7);
  const date = new Date(`${day}T12:00:00Z`);
  date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString().slice(0, 10);
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** `2026-03-29` in the zone. */
function localDay(zone: string, at: number): string {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
    formats.set(zone, format);
  }
  return format.format(new Date(at * 1000));
}

/** Accounts, limits, pools and windows as one would write them for a single thread without a database. */
export class AccountsModel {
  /** Paths of accounts, and whether each is closed. */
  readonly accounts = new Map<string, boolean>();
  readonly limits: ModelLimit[] = [];
  readonly nodes: ModelNode[] = [];
  readonly allocations = new Map<string, ModelAllocation>();
  /** In seconds since the epoch. */
  now = 0;

  apply(operations: readonly Operation[]): ModelResult[] {
    for (const one of this.allocations.values()) {
      if (one.state === 1 && one.expires > 0 && one.expires <= this.now) this.giveBack(one, 4);
    }
    const results = operations.map((operation) => this.change(operation));
    // Pool after pool, each in the order of arrival.
    for (const pool of [...new Set(operations.map(({ pool = 'default' }) => pool))].toSorted()) {
      for (const [index, operation] of operations.entries()) {
        if (results[index] === undefined && (operation.pool ?? 'default') === pool) {
          results[index] = this.place(operation, pool);
        }
      }
    }
    return results as ModelResult[];
  }

  rowOf(limit: ModelLimit): ModelRow {
    const name = periodName(limit.period, limit.zone, this.now);
    let row = limit.rows.get(name);
    if (!row)
      limit.rows.set(
        name,
        (row = { limit, used: 0, ceiling: limit.amount, extra: limit.extra, extraUntil: limit.extraUntil }),
      );
    return row;
  }

  ceilingOf({ ceiling, extra, extraUntil }: ModelRow): number {
    return ceiling + (extraUntil > this.now ? extra : 0);
  }

  /** The rows of the running period and, where the clock went back, of later ones. */
  openRows(limit: ModelLimit): ModelRow[] {
    const now = periodName(limit.period, limit.zone, this.now);
    const later = (name: string) => (/^\d+$/.test(now) ? Number(name) >= Number(now) : name >= now);
    return [...limit.rows].filter(([name]) => later(name)).map(([, row]) => row);
  }

  /** The account and all above it, the root first; undefined: it does not exist. */
  pathOf(account: string): string[] | undefined {
    if (!this.accounts.has(account)) return undefined;
    const names = account === '' ? [] : account.split('/');
    return ['', ...names.map((_, index) => names.slice(0, index + 1).join('/'))];
  }

  private change(operation: Operation): ModelResult | undefined {
    const { kind, requestId } = operation;
    const tokens = Number(operation.tokenCount);
    const one = this.allocations.get(requestId);
    if (!one) return kind === 'allocate' ? undefined : { result: 'not found' };
    const done = { result: 'done', node: one.node.id };
    switch (kind) {
      case 'allocate':
        if (one.tokens !== tokens || one.cost !== Number(operation.cost ?? 0) || one.ttl !== operation.ttlSeconds) {
          return { result: 'mismatch' };
        }
        return one.state === 1 ? done : { result: 'ended' };
      case 'extend':
        if (one.state !== 1) return { result: 'ended' };
        one.expires = this.now + operation.ttlSeconds;
        return done;
      case 'free':
        if (one.state === 2 && one.accounted) return { result: 'spent' };
        if (one.state <= 2) this.giveBack(one, 3);
        return done;
      case 'settle': {
        const cost =
          operation.cost === undefined ? Math.ceil((one.cost * tokens) / one.tokens) : Number(operation.cost);
        if (one.state === 2) {
          const same =
            one.settled?.tokens === tokens &&
            (operation.cost === undefined || one.settled.cost === Number(operation.cost));
          return same ? done : { result: 'mismatch' };
        }
        if (one.state !== 1) return { result: 'ended' };
        if (tokens > one.tokens && !one.accounted) return { result: 'too much' };
        this.debit(one, { tokens: tokens - one.tokens, cost: cost - one.cost }, 0);
        one.settled = { tokens, cost };
        one.state = 2;
        return done;
      }
    }
  }

  private giveBack(one: ModelAllocation, state: 3 | 4): void {
    const held = one.state === 1 ? one : (one.settled as Held);
    this.debit(one, { tokens: -held.tokens, cost: -held.cost }, -1);
    one.state = state;
  }

  private debit(
    one: Pick<ModelAllocation, 'node' | 'rows' | 'window'>,
    { tokens, cost }: Held,
    requests: number,
  ): void {
    for (const row of one.rows) row.used += { tokens, micro_usd: cost, requests }[row.limit.unit];
    const { node } = one;
    node.used += tokens;
    if (node.windowSeconds > 0 && node.windowStart === one.window) node.windowUsed += tokens;
  }

  /** What is used of a node's running window. */
  windowUsed(node: ModelNode): number {
    return node.windowSeconds > 0 && node.windowStart === this.windowOf(node) ? node.windowUsed : 0;
  }

  private windowOf(node: ModelNode): number {
    return node.windowSeconds === 0 ? 0 : Math.floor(this.now / node.windowSeconds) * node.windowSeconds;
  }

  private roomOf(node: ModelNode): number {
    const balance = node.capacity - node.used;
    if (node.windowSeconds === 0) return balance;
    return Math.min(balance, node.windowLimit - (node.windowStart === this.windowOf(node) ? node.windowUsed : 0));
  }

  private place(operation: Operation, pool: string): ModelResult {
    const tokens = Number(operation.tokenCount);
    const cost = Number(operation.cost ?? 0);
    const asked = (row: ModelRow) => ({ tokens, micro_usd: cost, requests: 1 })[row.limit.unit];
    let rows: ModelRow[] = [];
    if (operation.reference !== undefined) {
      const path = this.pathOf(operation.reference.split('\n')[1] as string);
      if (!path) return { result: 'no account' };
      if (path.some((account) => this.accounts.get(account))) return { result: 'account closed' };
      rows = this.limits.filter(({ account }) => path.includes(account)).map((limit) => this.rowOf(limit));
      const refusing = rows.filter((row) => row.limit.hard && row.used + Math.max(asked(row), 1) > this.ceilingOf(row));
      if (refusing.length > 0) {
        const remaining = new Map(refusing.map((row) => [row.limit.id, Math.max(0, this.ceilingOf(row) - row.used)]));
        return { result: 'limited', refusing, remaining };
      }
    }
    const all = this.nodes.filter((node) => node.pool === pool);
    if (all.length === 0) return { result: 'no pool' };
    const open = all.filter((node) => node.restUntil <= this.now && this.roomOf(node) >= tokens);
    open.sort((one, other) => this.roomOf(one) - this.roomOf(other) || (one.id < other.id ? -1 : 1));
    const [node] = open;
    if (!node) return { result: 'exhausted' };
    const window = this.windowOf(node);
    if (node.windowSeconds > 0 && node.windowStart !== window)
      Object.assign(node, { windowStart: window, windowUsed: 0 });
    const ttl = operation.ttlSeconds;
    const allocation: ModelAllocation = {
      node,
      rows,
      accounted: operation.reference !== undefined,
      window,
      tokens,
      cost,
      settled: undefined,
      state: 1,
      expires: ttl > 0 ? this.now + ttl : 0,
      ttl,
    };
    this.debit(allocation, allocation, 1);
    this.allocations.set(operation.requestId, allocation);
    return { result: 'done', node: node.id };
  }
}
