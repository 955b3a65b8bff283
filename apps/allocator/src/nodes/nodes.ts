import { Inject, Injectable } from '@nestjs/common';
import { Problem } from '@sluice/problem';
import { type Caller, takeLock, transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { INT64_MAX } from '../allocations/limits.js';
import type { NodeWindow } from '../allocations/reading.js';
import { ledgerKinds, strategies, type Strategy } from '../batch/operation.js';

/** The states of a node, by the numbers of `Node.State` in the contract and in Postgres. */
export const nodeStates = { active: 1, draining: 2 } as const;

/** A node as it is now; counts are the decimal text of an int64. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly capacity: string;
  readonly used: string;
  /** Never below zero. */
  readonly remaining: string;
  readonly state: number;
  readonly pool: string;
  /** The refill window, 0 without one; and what the running one has left. */
  readonly windowLimit: string;
  readonly windowSeconds: number;
  readonly windowRemaining: string;
  /** Microseconds since the epoch; null: it does not rest. */
  readonly restUntilUs: string | null;
  readonly restReason: string;
}

export interface UsageRecord {
  readonly nodes: readonly NodeRecord[];
  readonly strategy: Strategy;
}

const NO_WINDOW: NodeWindow = { limit: '0', seconds: 0 };

/** The kind of an event of the outbox. */
const NODE_RESTS = 4;

/** One at a time changes the set of nodes, so that the sum of the capacities can be bounded. */
const NODES_LOCK = 'nodes';

const columns = `node_id as "nodeId", capacity::text, used::text, greatest(capacity - used, 0)::text as remaining, state::int, pool,
    window_limit::text as "windowLimit", window_seconds as "windowSeconds",
    greatest(window_limit - case
      when window_seconds > 0 and window_start = extract(epoch from clock_timestamp())::bigint / window_seconds * window_seconds then window_used
      else 0 end, 0)::text as "windowRemaining",
    case when rest_until > clock_timestamp() then (extract(epoch from rest_until) * 1000000)::bigint::text end as "restUntilUs",
    case when rest_until > clock_timestamp() then coalesce(rest_reason, '') else '' end as "restReason"`;

/** The nodes, and how they are changed. */
@Injectable()
export class Nodes {
  constructor(@Inject(DataSource) private readonly dataSource: DataSource) {}

  list(): Promise<NodeRecord[]> {
    return this.dataSource.query(`select ${columns} from nodes order by node_id`);
  }

  async usage(): Promise<UsageRecord> {
    const rows: (NodeRecord & { strategy: number })[] = await this.dataSource.query(
      `select ${columns}, s.strategy::int from settings s left join nodes on true order by node_id`,
    );
    const strategy = strategies[(rows[0]?.strategy ?? 1) - 1] as Strategy;
    return { nodes: rows.filter(({ nodeId }) => nodeId !== null), strategy };
  }

  /** @throws Problem ALREADY_EXISTS, INVALID_ARGUMENT when the capacities together would exceed an int64 */
  add(call: Caller, nodeId: string, capacity: string, pool = 'default', window = NO_WINDOW): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await lockNodes(manager);
      if ((await find(manager, nodeId)) !== undefined) {
        throw new Problem('ALREADY_EXISTS', `There is a node ${nodeId} already.`);
      }
      await checkTotal(manager, BigInt(capacity));
      await insert(manager, nodeId, capacity, null);
      await manager.query('update nodes set pool = $2, window_limit = $3, window_seconds = $4 where node_id = $1', [
        nodeId,
        pool,
        window.limit,
        window.seconds,
      ]);
      return (await find(manager, nodeId)) as NodeRecord;
    });
  }

  /** @throws Problem NOT_FOUND, INVALID_ARGUMENT when the capacities together would exceed an int64 */
  resize(call: Caller, nodeId: string, capacity: string): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await lockNodes(manager);
      const node = await hold(manager, nodeId);
      await checkTotal(manager, BigInt(capacity) - BigInt(node.capacity));
      return change(manager, node, `capacity = ${BigInt(capacity)}`, ledgerKinds.resizeNode);
    });
  }

  /** A window begins anew with its first allocation: what was used of the former one is forgotten. @throws Problem NOT_FOUND */
  setWindow(call: Caller, nodeId: string, { limit, seconds }: NodeWindow): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await hold(manager, nodeId);
      await manager.query(
        `update nodes set window_limit = $2, window_seconds = $3,
             window_used = case when window_seconds = $3 then window_used else 0 end,
             window_start = case when window_seconds = $3 then window_start else 0 end
           where node_id = $1`,
        [nodeId, limit, seconds],
      );
      return (await find(manager, nodeId)) as NodeRecord;
    });
  }

  /** No allocations for so many seconds; 0: it comes back. Written to the outbox as well. @throws Problem NOT_FOUND */
  rest(call: Caller, nodeId: string, seconds: number, reason: string): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await hold(manager, nodeId);
      await manager.query('select from settings for no key update');
      await manager.query(
        `update nodes set rest_until = case when $2 = 0 then null else clock_timestamp() + make_interval(secs => $2) end,
             rest_reason = nullif($3, '') where node_id = $1`,
        [nodeId, seconds, reason],
      );
      if (seconds > 0) {
        await manager.query(
          `insert into budget_events (kind, at, batch, node_id, detail)
             select ${NODE_RESTS}, clock_timestamp(), nextval('batch_seq'), $1, jsonb_build_object('until', rest_until, 'reason', rest_reason)
               from nodes where node_id = $1`,
          [nodeId],
        );
      }
      return (await find(manager, nodeId)) as NodeRecord;
    });
  }

  /**
   * Takes an empty node away.
   *
   * @throws Problem NOT_FOUND, FAILED_PRECONDITION while it holds tokens
   */
  remove(call: Caller, nodeId: string): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await lockNodes(manager);
      const node = await hold(manager, nodeId, 'for update');
      if (node.used !== '0') {
        throw new Problem(
          'FAILED_PRECONDITION',
          `The node ${nodeId} holds ${node.used} tokens: drain it, and remove it when they have returned.`,
          { details: { used: node.used } },
        );
      }
      await manager.query(`delete from nodes where node_id = $1`, [nodeId]);
      await record(manager, nodeId, ledgerKinds.removeNode, String(-BigInt(node.capacity)));
      return node;
    });
  }

  /**
   * Gives a node another name. What it holds goes with it, in the ledger as well; allocations that have ended keep the old one.
   *
   * @throws Problem NOT_FOUND, ALREADY_EXISTS
   */
  rename(call: Caller, nodeId: string, to: string): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      await lockNodes(manager);
      const node = await hold(manager, nodeId, 'for update');
      if (to === nodeId) return node;
      if ((await find(manager, to)) !== undefined)
        throw new Problem('ALREADY_EXISTS', `There is a node ${to} already.`);
      await manager.query(
        `update nodes set node_id = $2,
             configured_as = case when configured_capacity is null then null else coalesce(configured_as, node_id) end
           where node_id = $1`,
        [nodeId, to],
      );
      await manager.query(`update allocations set node_id = $2 where node_id = $1 and state in (1, 2)`, [nodeId, to]);
      const capacity = BigInt(node.capacity);
      const used = BigInt(node.used);
      await record(manager, nodeId, ledgerKinds.renameNode, String(-capacity), String(-used));
      await record(manager, to, ledgerKinds.renameNode, String(capacity), String(used));
      return { ...node, nodeId: to };
    });
  }

  /** @throws Problem NOT_FOUND */
  setState(call: Caller, nodeId: string, state: keyof typeof nodeStates): Promise<NodeRecord> {
    return transaction(this.dataSource, call, async (manager) => {
      const node = await hold(manager, nodeId);
      if (node.state === nodeStates[state]) return node;
      const kind = state === 'draining' ? ledgerKinds.drainNode : ledgerKinds.undrainNode;
      return change(manager, node, `state = ${nodeStates[state]}`, kind);
    });
  }
}

export async function lockNodes(manager: EntityManager): Promise<void> {
  await takeLock(manager, NODES_LOCK);
}

export async function find(manager: EntityManager, nodeId: string, lock = ''): Promise<NodeRecord | undefined> {
  const rows: NodeRecord[] = await manager.query(`select ${columns} from nodes where node_id = $1 ${lock}`, [nodeId]);
  return rows[0];
}

/** The node, under the lock that batches take as well. */
export async function hold(manager: EntityManager, nodeId: string, lock = 'for no key update'): Promise<NodeRecord> {
  const node = await find(manager, nodeId, lock);
  if (node === undefined) throw new Problem('NOT_FOUND', `There is no node ${nodeId}.`);
  return node;
}

/** Usage answers with the sum of all capacities, which is an int64 as well. */
export async function checkTotal(manager: EntityManager, growth: bigint): Promise<void> {
  const [row]: { total: string }[] = await manager.query(`select coalesce(sum(capacity), 0)::text as total from nodes`);
  const left = INT64_MAX - BigInt(row?.total ?? 0);
  if (growth > left) {
    throw new Problem('INVALID_ARGUMENT', `capacity: the nodes together can hold ${INT64_MAX} at most, ${left} more`, {
      details: { field: 'capacity' },
    });
  }
}

export async function insert(
  manager: EntityManager,
  nodeId: string,
  capacity: string,
  configured: string | null,
): Promise<NodeRecord> {
  await manager.query(`insert into nodes (node_id, capacity, configured_capacity) values ($1, $2, $3)`, [
    nodeId,
    capacity,
    configured,
  ]);
  await record(manager, nodeId, ledgerKinds.addNode, capacity);
  return (await find(manager, nodeId)) as NodeRecord;
}

/** @param assignments SQL made of numbers alone */
export async function change(
  manager: EntityManager,
  before: NodeRecord,
  assignments: string,
  kind: number,
): Promise<NodeRecord> {
  await manager.query(`update nodes set ${assignments} where node_id = $1`, [before.nodeId]);
  const after = (await find(manager, before.nodeId)) as NodeRecord;
  const growth = BigInt(after.capacity) - BigInt(before.capacity);
  // The ledger tells what changed, and a resize to the same capacity changes nothing.
  if (growth !== 0n || kind !== ledgerKinds.resizeNode) await record(manager, before.nodeId, kind, String(growth));
  return after;
}

async function record(
  manager: EntityManager,
  nodeId: string,
  kind: number,
  capacityDelta: string,
  delta = '0',
): Promise<void> {
  await manager.query(
    `insert into ledger (batch, ordinal, at, kind, node_id, delta, capacity_delta)
       values (nextval('batch_seq'), 1, clock_timestamp(), $1, $2, $4, $3)`,
    [kind, nodeId, capacityDelta, delta],
  );
}
