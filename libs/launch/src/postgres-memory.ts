import { totalmem } from 'node:os';
import type { Environment } from '../ports.mjs';
import { PlanError } from './plan.js';

const MB = 1024 * 1024;
const MIN_MB = 32;
const MAX_MB = 1024;

/**
 * `shared_buffers` of the embedded Postgres: POSTGRES_SHARED_BUFFERS, or a quarter of the memory, from 32 MB to 1 GB. Postgres takes it
 * as it needs it. What is looked up at random on every call, such as the index of request ids, should fit in it.
 *
 * @throws PlanError when the setting is no size
 */
export function sharedBuffers(environment: Environment, memory = memoryBytes()): string {
  const text = environment.POSTGRES_SHARED_BUFFERS;
  if (!text) return `${Math.min(MAX_MB, Math.max(MIN_MB, Math.floor(memory / 4 / MB)))}MB`;
  if (!/^[1-9]\d{0,6}(kB|MB|GB)$/.test(text)) {
    throw new PlanError(
      `POSTGRES_SHARED_BUFFERS="${text}": expected a whole number and kB, MB or GB, for example 512MB`,
    );
  }
  return text;
}

/** Of the machine, or of the container when that has less. */
function memoryBytes(): number {
  return Math.min(totalmem(), process.constrainedMemory() || Infinity);
}
