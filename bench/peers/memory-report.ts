/**
 * Loaded into a measured process (`--import`, with `--expose-gc`): on each message from its parent it tells what it holds, after a
 * garbage collection when the message is `collect`.
 */
import { readdirSync } from 'node:fs';

export interface MemoryReport {
  readonly heapTotal: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly descriptors: number;
  readonly sockets: number;
}

process.on('message', (message) => {
  if (message === 'collect') {
    globalThis.gc!();
    globalThis.gc!();
  }
  const { heapTotal, heapUsed, external } = process.memoryUsage();
  const sockets = process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
  const report: MemoryReport = {
    heapTotal,
    heapUsed,
    external,
    descriptors: readdirSync('/proc/self/fd').length,
    sockets,
  };
  process.send!(report);
});
