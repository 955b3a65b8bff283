import { totalmem } from 'node:os';
import type { GatewayConfig } from '../config/schema.js';
import type { ClientBounds } from './clients.js';

/** Of the machine's memory, or of what its container may use, when the configuration does not say. */
const MEMORY_SHARE = 1 / 4;
const MEMORY_OCTETS_MAX = 512 * 1024 ** 2;
const ADDRESS_SHARE = 1 / 4;
const CONNECTION_SHARE = 1 / 16;
/** One call holds its body, the message made of it, what of that has not left for the service, and an answer as large. */
const CALL_BODIES = 4;

/** @param connections of all clients together, and of one address */
export function clientBounds(
  { memory, timeouts, sizes, upstreams }: Pick<GatewayConfig, 'memory' | 'timeouts' | 'sizes' | 'upstreams'>,
  connections: { readonly all: number; readonly perAddress: number },
): ClientBounds {
  const bodyMax = Math.max(sizes.body, ...upstreams.flatMap(({ max_body }) => Object.values(max_body)));
  const call = bodyMax * CALL_BODIES;
  const share = Math.floor(Math.min(MEMORY_OCTETS_MAX, machineMemory() * MEMORY_SHARE));
  const total = memory.total ?? Math.max(share, call);
  const perAddress = memory.per_address ?? Math.min(total, Math.max(Math.floor(total * ADDRESS_SHARE), call));
  const perConnection = Math.max(Math.floor(total * CONNECTION_SHARE), call);
  return {
    connections: connections.all,
    connectionsPerAddress: connections.perAddress,
    memory: total,
    memoryPerAddress: perAddress,
    memoryPerConnection: memory.per_connection ?? Math.min(perAddress, perConnection),
    memoryWaitMs: timeouts.memory,
  };
}

/** In octets. Without a limit of its own a container is told a number that no machine has. */
function machineMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
