import { randomInt } from 'node:crypto';
import { isPortFree } from '@sluice/config';

/**
 * Below the ports that systems give to outgoing connections (Linux from 32768, macOS from 49152): one of those, free now, may be
 * the source of somebody's connection when the caller wants to listen on it.
 */
const FIRST = 15_000;
const LAST = 32_767;
const TRIES = 100;
const given = new Set<number>();

/** A TCP port that nothing listens on at this moment, each time another. Another process may take it before the caller does. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = randomInt(FIRST, LAST + 1);
    if (given.has(port) || !(await isPortFree(port, host))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no port of ${host} from ${FIRST} to ${LAST} can be listened on`);
}
