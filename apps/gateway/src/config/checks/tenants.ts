import { faultAt, type FileFault } from '@sluice/config';
import { isKept } from '../../preflight/preflight.js';
import type { Subject } from './check.js';

/** A field that means something else to the gateway names no tenant. */
export function* tenants({ config }: Subject): Iterable<FileFault> {
  const { header } = config.tenants;
  if (header === 'none' || !(isKept(header) || header.startsWith('grpc-'))) return;
  yield faultAt(['tenants', 'header'], { value: header, expected: 'a field that means nothing else to the gateway' });
}
