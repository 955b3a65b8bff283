import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { Counter, Gauge, type Logger, METRICS, type Registry } from '@sluice/telemetry';
import { DataSource, type EntityManager } from 'typeorm';

const INTERVAL_MS = 10_000;

interface NodeState {
  readonly node_id: string;
  readonly used: string;
  readonly capacity: string;
  readonly state: number;
}

/** The nodes at a moment when no batch was under way, and the last batch before it. */
interface Checkpoint {
  readonly nodes: readonly NodeState[];
  readonly batch: string;
}

interface Change {
  readonly node_id: string;
  readonly used: string;
  readonly capacity: string;
}

/**
 * Watches the invariant while the service runs, at the cost of reading each new entry of the ledger once: the nodes at one
 * moment, plus the entries since, must be the nodes at the next. `npm run budget -- verify` checks everything from the beginning.
 *
 * All node rows are locked together for the two reads of a checkpoint. Whoever has drawn a batch number holds a node, so then
 * every number drawn belongs to a batch that has ended, and the entries between two checkpoints do not change any more. The last
 * good checkpoint is a row beside the nodes: whatever the database is restored to, it has the checkpoint of that time.
 */
@Injectable()
export class Invariant implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private checking: Promise<void> = Promise.resolve();
  private readonly tokens: Gauge<'node' | 'kind'>;
  private readonly violations: Gauge;
  private readonly checks: Counter;

  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(METRICS) metrics: Registry,
  ) {
    const registers = [metrics];
    this.tokens = new Gauge({
      name: 'allocator_node_tokens',
      help: 'Tokens of a node: its capacity, and what is used of it',
      labelNames: ['node', 'kind'],
      registers,
    });
    this.violations = new Gauge({
      name: 'allocator_invariant_violations',
      help: 'Nodes whose balance is not what the ledger says, as of the last check; anything but 0 is a fault',
      registers,
    });
    this.checks = new Counter({
      name: 'allocator_invariant_checks_total',
      help: 'Checks of the balances against the ledger',
      registers,
    });
  }

  async onModuleInit(): Promise<void> {
    await this.check();
    this.timer = setInterval(() => {
      this.checking = this.check().catch((error: unknown) => {
        this.logger.warn({ err: error }, 'the balances could not be checked');
      });
    }, INTERVAL_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.checking;
  }

  /** Compares the nodes now with the nodes at the last check and the ledger in between. */
  async check(): Promise<void> {
    const { last, now } = await this.dataSource.transaction(readCheckpoints);
    this.tokens.reset();
    for (const { node_id: node, used, capacity } of now.nodes) {
      this.tokens.set({ node, kind: 'used' }, Number(used));
      this.tokens.set({ node, kind: 'capacity' }, Number(capacity));
    }
    if (last?.batch === now.batch && isDeepStrictEqual(last.nodes, now.nodes)) {
      this.violations.set(0);
      this.checks.inc();
      return;
    }
    if (last) {
      const wrong = disagreeing(last, await this.changesBetween(last.batch, now.batch), now);
      for (const { node_id: node, used } of wrong)
        this.logger.error({ node, used }, 'a balance is not what the ledger says');
      this.violations.set(wrong.length);
      // The last good checkpoint stays, so that a fault is reported until it is repaired.
      if (wrong.length > 0) return;
    }
    this.checks.inc();
    await this.dataSource.query(
      `insert into checkpoint as c (batch, nodes) values ($1, $2)
         on conflict (only_row) do update set batch = excluded.batch, nodes = excluded.nodes where c.batch <= excluded.batch`,
      [now.batch, JSON.stringify(now.nodes)],
    );
  }

  private changesBetween(after: string, until: string): Promise<Change[]> {
    return this.dataSource.transaction(async (manager) => {
      await manager.query('set local enable_seqscan = off');
      return manager.query<Change[]>(
        `select node_id, sum(delta)::text as used, sum(capacity_delta)::text as capacity
           from ledger where batch > $1 and batch <= $2 group by node_id`,
        [after, until],
      );
    });
  }
}

/** The last good checkpoint, if there is one, and one of now: the other is never later, since it is read while all nodes are held. */
async function readCheckpoints(manager: EntityManager): Promise<{ last: Checkpoint | undefined; now: Checkpoint }> {
  // While it waits it holds nodes itself: better no check this time than calls that wait for it.
  await manager.query(`set local lock_timeout = '250ms'`);
  const nodes = await manager.query<NodeState[]>(
    `select node_id, used::text, capacity::text, state::int from nodes order by node_id for no key update`,
  );
  const [row] = await manager.query<[{ batch: string }]>(`select last_value::text as batch from batch_seq`);
  const [last] = await manager.query<Checkpoint[]>(`select batch::text, nodes from checkpoint`);
  return { last, now: { nodes, batch: row.batch } };
}

/** What the ledger explains of no node, removed ones included: they are at 0. */
function disagreeing(last: Checkpoint, changes: readonly Change[], now: Checkpoint): Change[] {
  const expected = new Map<string, { used: bigint; capacity: bigint }>();
  const add = ({ node_id, used, capacity }: Change, sign: bigint) => {
    const sum = expected.get(node_id) ?? { used: 0n, capacity: 0n };
    expected.set(node_id, {
      used: sum.used + sign * BigInt(used),
      capacity: sum.capacity + sign * BigInt(capacity),
    });
  };
  for (const node of last.nodes) add(node, 1n);
  for (const change of changes) add(change, 1n);
  for (const node of now.nodes) add(node, -1n);
  const wrong = [...expected].filter(([, { used, capacity }]) => used !== 0n || capacity !== 0n).map(([node]) => node);
  const none = { used: '0', capacity: '0' };
  return wrong.map((node_id) => now.nodes.find((node) => node.node_id === node_id) ?? { node_id, ...none });
}
