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
  readonly nodes: ReadonlyMap<string, NodeState>;
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
 * every number drawn belongs to a batch that has ended, and the entries between two checkpoints do not change any more.
 */
@Injectable()
export class Invariant implements OnModuleInit, OnApplicationShutdown {
  private last: Checkpoint | undefined;
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
    const now = await this.dataSource.transaction(readCheckpoint);
    for (const { node_id: node, used, capacity } of now.nodes.values()) {
      this.tokens.set({ node, kind: 'used' }, Number(used));
      this.tokens.set({ node, kind: 'capacity' }, Number(capacity));
    }
    if (this.last) {
      const changes = await this.changesBetween(this.last.batch, now.batch);
      const wrong = [...now.nodes.values()].filter((node) => !agrees(this.last as Checkpoint, changes, node));
      for (const node of wrong)
        this.logger.error({ node: node.node_id, used: node.used }, 'a balance is not what the ledger says');
      this.violations.set(wrong.length);
      // The last good checkpoint stays, so that a fault is reported until it is repaired.
      if (wrong.length > 0) return;
    }
    this.checks.inc();
    this.last = now;
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

async function readCheckpoint(manager: EntityManager): Promise<Checkpoint> {
  // While it waits it holds nodes itself: better no check this time than calls that wait for it.
  await manager.query(`set local lock_timeout = '250ms'`);
  const nodes = await manager.query<NodeState[]>(
    `select node_id, used::text, capacity::text, state::int from nodes order by node_id for no key update`,
  );
  const [row] = await manager.query<[{ batch: string }]>(`select last_value::text as batch from batch_seq`);
  return { nodes: new Map(nodes.map((node) => [node.node_id, node])), batch: row.batch };
}

function agrees(last: Checkpoint, changes: readonly Change[], node: NodeState): boolean {
  const before = last.nodes.get(node.node_id);
  const change = changes.find(({ node_id }) => node_id === node.node_id);
  const used = BigInt(before?.used ?? 0) + BigInt(change?.used ?? 0);
  const capacity = BigInt(before?.capacity ?? 0) + BigInt(change?.capacity ?? 0);
  return used === BigInt(node.used) && capacity === BigInt(node.capacity);
}
