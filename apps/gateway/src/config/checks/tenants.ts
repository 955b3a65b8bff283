import { faultAt, type FileFault } from '@sluice/config';
import { isKept } from '../../preflight/preflight.js';
import { USUAL_TIER } from '../../tenant/tenant-metrics.js';
import type { Subject } from './check.js';

/** A field that means something else to the gateway names no tenant; a tier can have no effect, or a tenant two. */
export function* tenants({ config }: Subject): Iterable<FileFault> {
  const { header } = config.tenants;
  if (header !== 'none' && (isKept(header) || header.startsWith('grpc-'))) {
    yield faultAt(['tenants', 'header'], { value: header, expected: 'a field that means nothing else to the gateway' });
  }
  yield* tiers(config.tenants.tiers);
}

function* tiers(configured: Readonly<Record<string, readonly string[]>>): Iterable<FileFault> {
  const at = (...keys: (string | number)[]) => ['tenants', 'tiers', ...keys];
  const tierOf = new Map<string, string>();
  for (const [tier, names] of Object.entries(configured)) {
    if (tier === USUAL_TIER) yield faultAt(at(tier), { expected: 'another tier: every tenant without one is of this' });
    for (const [index, name] of names.entries()) {
      const other = tierOf.get(name);
      if (other !== undefined)
        yield faultAt(at(tier, index), { value: name, expected: `each tenant once: it is of tier ${other}` });
      tierOf.set(name, tier);
    }
  }
}
