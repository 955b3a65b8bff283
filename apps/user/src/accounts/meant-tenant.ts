import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';

/**
 * The tenant that a call means: what its message says, or what the gateway was told by header or host; empty: neither says any.
 *
 * @throws Problem TENANT_MISMATCH when they say different ones
 */
export function meantTenant(call: Pick<Call, 'tenant'>, inMessage: string): string {
  if (inMessage === '' || call.tenant === '' || inMessage === call.tenant) return inMessage || call.tenant;
  throw tenantMismatch('The request', inMessage, call.tenant);
}

/** @param who what names `named`, at the beginning of a sentence */
export function tenantMismatch(who: string, named: string, said: string): Problem {
  const detail = `${who} names the tenant ${JSON.stringify(named)}, the header or the host ${JSON.stringify(said)}.`;
  return new Problem('TENANT_MISMATCH', `${detail} Send one of them.`, { details: { tenants: [named, said] } });
}
