import { faultAt, type FileFault } from '@sluice/config';
import type { Subject } from './check.js';

/** Less than this is no room for anybody. */
const TOTAL_OCTETS_MIN = 1024 ** 2;

/** Bounds of what is held for clients: one above another that holds as well has no effect. */
export function* memory({ config }: Subject): Iterable<FileFault> {
  const { total, per_address, per_connection } = config.memory;
  if (total !== undefined && total < TOTAL_OCTETS_MIN) {
    yield faultAt(['memory', 'total'], { value: total, expected: '1MiB or more' });
  }
  if (total !== undefined && per_address !== undefined && per_address > total) {
    yield faultAt(['memory', 'per_address'], { value: per_address, expected: `no more than memory.total, ${total}` });
  }
  const above = per_address ?? total;
  if (above !== undefined && per_connection !== undefined && per_connection > above) {
    const name = per_address === undefined ? 'total' : 'per_address';
    yield faultAt(['memory', 'per_connection'], {
      value: per_connection,
      expected: `no more than memory.${name}, ${above}`,
    });
  }
}
