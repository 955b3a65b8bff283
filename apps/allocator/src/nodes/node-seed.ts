import type { Logger } from '@sluice/telemetry';
import { DataSource, type EntityManager } from 'typeorm';
import { ledgerKinds } from '../batch/operation.js';
import type { ConfiguredNode } from '../settings.js';
import { change, checkTotal, hold, insert, lockNodes, nodeStates } from './nodes.js';

interface Known {
  readonly nodeId: string;
  /** Its name in NODES. */
  readonly named: string;
  /** What NODES and NODE_BUDGET said last; null for a node of the API. */
  readonly configured: string | null;
  readonly leftOut: boolean;
}

/**
 * Brings the nodes in line with NODES at the start of the service:
 * - Missing ones are added, and those whose capacity in the setting has changed since the last start are resized. A capacity that was
 *   set through the API stays as long as the setting does not change. A renamed node answers to either name.
 * - One that the setting no longer names is drained, and opened again when the setting names it again.
 */
export class NodeSeed {
  constructor(
    private readonly dataSource: DataSource,
    private readonly logger: Logger,
  ) {}

  seed(configured: readonly ConfiguredNode[], budget: bigint): Promise<void> {
    return this.dataSource.transaction(async (manager) => {
      await lockNodes(manager);
      const known = await manager.query<Known[]>(
        `select node_id as "nodeId", coalesce(configured_as, node_id) as named, configured_capacity::text as configured,
             left_out as "leftOut" from nodes order by node_id`,
      );
      const seen = new Set<Known>();
      for (const { nodeId, capacity = budget } of configured) {
        const node =
          known.find((candidate) => candidate.nodeId === nodeId) ?? known.find(({ named }) => named === nodeId);
        if (node) {
          seen.add(node);
          await this.keep(manager, node, capacity);
          continue;
        }
        await checkTotal(manager, capacity);
        await insert(manager, nodeId, String(capacity), String(capacity));
        this.logger.info({ node: nodeId, capacity: String(capacity) }, 'a node of NODES was added');
      }
      for (const node of known)
        if (!seen.has(node) && node.configured !== null) await this.leaveOut(manager, node.nodeId);
    });
  }

  private async keep(manager: EntityManager, { nodeId, configured, leftOut }: Known, capacity: bigint): Promise<void> {
    if (leftOut) {
      const node = await hold(manager, nodeId);
      await change(manager, node, `state = ${nodeStates.active}, left_out = false`, ledgerKinds.undrainNode);
      this.logger.info({ node: nodeId }, 'NODES names a node again: it is open to allocations');
    }
    if (configured === String(capacity)) return;
    const node = await hold(manager, nodeId);
    await checkTotal(manager, capacity - BigInt(node.capacity));
    await change(manager, node, `capacity = ${capacity}, configured_capacity = ${capacity}`, ledgerKinds.resizeNode);
  }

  private async leaveOut(manager: EntityManager, nodeId: string): Promise<void> {
    const node = await hold(manager, nodeId);
    const active = node.state === nodeStates.active;
    if (active) await change(manager, node, `state = ${nodeStates.draining}, left_out = true`, ledgerKinds.drainNode);
    // So that it stays as it is when an operator opens it again.
    await manager.query('update nodes set configured_capacity = null where node_id = $1', [nodeId]);
    this.logger.warn(
      { node: nodeId, used: node.used },
      active
        ? 'NODES no longer names a node: it drains; remove it when it is empty'
        : 'NODES no longer names a node that drains: remove it when it is empty',
    );
  }
}
