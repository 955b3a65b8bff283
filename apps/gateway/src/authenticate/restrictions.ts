import type { CallerKey } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { MethodInfo } from '@sluice/transcode';
import { type TrustedProxies, trustedProxies } from '../preflight/address.js';
import { selectorRank } from '../route/access.js';

const otherNetwork = new Problem('PERMISSION_DENIED', 'This API key may not be used from this address.', {
  lasting: true,
});
const otherMethod = new Problem('PERMISSION_DENIED', 'This API key may not call this method.', { lasting: true });

/** A key stays the same object as long as the verdict on it is kept. */
const networksOf = new WeakMap<CallerKey, TrustedProxies>();

/** Why a key may not be used for a call; undefined when it may. Models are for the services behind to judge. */
export function restricted(key: CallerKey, method: MethodInfo, clientAddress: string): Problem | undefined {
  const { methods, networks } = key;
  if (networks.length > 0) {
    let among = networksOf.get(key);
    if (!among) networksOf.set(key, (among = trustedProxies(networks)));
    if (!among(clientAddress)) return otherNetwork;
  }
  const mayCall = methods.length === 0 || methods.some((selector) => selectorRank(selector, method) !== undefined);
  return mayCall ? undefined : otherMethod;
}
