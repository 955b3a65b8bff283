import { totalmem } from 'node:os';
import type { GatewayConfig } from '../config/schema.js';
import type { ClientBounds } from './clients.js';

/** Of the machine's memory, or of what its container may use, when the configuration does not say. */
const MEMORY_SHARE = 1 / 4;
const MEMORY_OCTETS_MAX = 512 * 1024 ** 2;
const ADDRESS_SHARE = 1 / 4;
const CONNECTION_SHARE = 1 / 16;

/** @param connections of all clients together, and of one address */
export function clientBounds(
  { memory, timeouts }: Pick<GatewayConfig, 'memory' | 'timeouts'>,
  connections: { readonly all: number; readonly perAddress: number },
): ClientBounds {
  const total = memory.total ?? Math.floor(Math.min(MEMORY_OCTETS_MAX, machineMemory() * MEMORY_SHARE));
  const perAddress = memory.per_address ?? Math.floor(total * ADDRESS_SHARE);
  return {
    connections: connections.all,
    connectionsPerAddress: connections.perAddress,
    memory: total,
    memoryPerAddress: perAddress,
    memoryPerConnection: memory.per_connection ?? Math.min(perAddress, Math.floor(total * CONNECTION_SHARE)),
    memoryWaitMs: timeouts.memory,
  };
}

/** In octets. Without a limit of its own a container is told a number that no machine has. */
function machineMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
