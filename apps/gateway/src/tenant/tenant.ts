import { type Problem, toProblem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { respondProblem } from '../respond/respond.js';
import { UNKNOWN_TENANT } from './known-tenants.js';
import { textOf } from './message-field.js';
import { mismatch } from './said-tenant.js';

/**
 * Pipeline stage: whose call it is. What the token says counts; for a call that is not signed in it is the header field, the host,
 * the `tenant` of the message (see {@link afterTenant}) or the default tenant, whichever comes first.
 */
export function tenant(exchange: Exchange): void | Problem {
  const { caller, runtime } = exchange;
  const said = exchange.head.tenant;
  if (caller !== undefined) {
    exchange.tenant = caller.tenant;
    // A token that names no tenant contradicts nobody, and whatever a client writes beside it is not believed.
    if (said === undefined || caller.tenant === '' || said.name === caller.tenant) return undefined;
    return mismatch({ name: caller.tenant, by: 'the access token' }, said);
  }
  if (said === undefined) {
    exchange.tenant = runtime.config.tenants.default;
    return undefined;
  }
  exchange.saidTenant = said.name;
  exchange.tenant = runtime.tenants.shareOf(said.name);
  return undefined;
}

/** Whether limits by tenant must wait for the message, since it alone can say the tenant. */
export function awaitsTenant({ route, head }: Exchange): boolean {
  return route.target.tenantField !== undefined && head.tenant === undefined;
}

/**
 * Goes on with a call once its message has said the tenant and the limits that waited for it have let it in; else it is answered.
 *
 * @param message as protobuf, of a method that has a {@link Target.tenantField}; it is read before this returns
 * @param drop what is held for a call that is not sent
 */
export function afterTenant(exchange: Exchange, message: Uint8Array, send: () => void, drop: () => void): void {
  const refuse = (error: unknown) => {
    drop();
    if (!exchange.finished) respondProblem(exchange, toProblem(error));
  };
  try {
    const deciding = readTenant(exchange, message);
    if (deciding === undefined) return send();
    void deciding.then(() => (exchange.finished ? drop() : send()), refuse);
  } catch (error) {
    refuse(error);
  }
}

/**
 * What the message of a call that is not signed in says of its tenant, and the limits that waited for it.
 *
 * @throws Problem TENANT_MISMATCH when the header or the host says another one, RATE_LIMIT_EXCEEDED
 */
function readTenant(exchange: Exchange, message: Uint8Array): void | Promise<void> {
  const { head, route, runtime } = exchange;
  const said = textOf(message, route.target.tenantField!);
  if (head.tenant !== undefined) {
    if (said === '' || said === head.tenant.name) return undefined;
    throw mismatch(head.tenant, { name: said, by: 'the request' });
  }
  if (said !== '') {
    exchange.saidTenant = said;
    exchange.tenant = runtime.tenants.shareOf(said);
  }
  return runtime.limiter.checkByMessage(exchange);
}

/** A service that the gateway trusts has taken the call, so that its tenant exists. */
export function tenantTaken(exchange: Exchange): void {
  const {
    route: { target },
    saidTenant,
    runtime,
  } = exchange;
  if (target.tenantField === undefined || saidTenant === undefined || target.place.kind === 'local') return;
  if (target.place.upstream.config.trusted === false) return;
  runtime.tenants.learn(saidTenant);
  if (exchange.tenant !== UNKNOWN_TENANT) return;
  exchange.tenant = saidTenant;
  runtime.limiter.tenantFound(exchange);
}
