import { forwardedAddress, loopbackAddress } from './address-pool.js';
import { outcomeOf, parse } from './outcome.js';
import type { LoadPlan } from './plan.js';
import type { ProbeCall } from './recovery.js';
import { isField, type Request, RequestHead } from './request.js';
import type { Answer, Transport } from './transport.js';

/**
 * A guest at an address that the load does not have, who asks who they are: the gateway, a service and its database have a
 * part in each call.
 *
 * @throws Error when there is no guest token to be had
 */
export async function honestClient(transport: Transport, plan: LoadPlan): Promise<() => Promise<ProbeCall>> {
  const addressOf = plan.addressMode === 'forwarded' ? forwardedAddress : loopbackAddress;
  // An index of its own, so that it has connections of its own.
  const index = plan.addressCount;
  const from = { index, address: addressOf(index), heldUntilMs: 0, refusalsInARow: 0 };
  const send = (request: Request, fields: string) =>
    new Promise<Answer>((resolve) => transport.send(from, request, fields, resolve));

  const [{ name, headers }] = plan.scenario.tenants as [LoadPlan['scenario']['tenants'][number]];
  const tenant = name === 'default' ? {} : { tenant: name };
  const tenantFields = Object.entries(headers).map(([field, value]) => `${field}: ${value}\r\n`);
  const body = JSON.stringify({ device_id: `lab-recovery-${crypto.randomUUID()}`, cause: 'no_token', ...tenant });
  const answer = await send(
    { head: new RequestHead('POST', '/api/v1/auth/guest'), body, keep: 'all' },
    tenantFields.join(''),
  );
  const token = parse(answer.body)['access_token'];
  if (!isField('authorization', token)) {
    const outcome = outcomeOf(answer);
    throw new Error(
      `no guest token to look at the recovery with: ${outcome.kind === 'failed' ? outcome.cause : outcome.kind}`,
    );
  }
  const fields = `authorization: Bearer ${String(token)}\r\n${tenantFields.join('')}`;
  const me: Request = { head: new RequestHead('GET', '/api/v1/me'), keep: 'nothing' };
  return async () => {
    const began = performance.now();
    const { status, fault, endedMs } = await send(me, fields);
    return { status, fault, ms: endedMs - began };
  };
}
