import { Metadata } from '@grpc/grpc-js';
import { formatTraceparent } from '@sluice/telemetry';
import type { Call } from './call.js';

/**
 * Metadata for a call to another service on behalf of the one that is served: the same caller, in the same trace.
 *
 * @param service the name of this service, which the other one is told
 * @param secret proves this name to the other service (`callerSecretFor`), which without it believes the caller only on loopback
 */
export function outgoingMetadata(call: Call, service: string, secret: string | undefined): Metadata {
  const metadata = new Metadata();
  metadata.set('x-sluice-service', service);
  metadata.set('traceparent', formatTraceparent(call.trace));
  if (secret !== undefined) metadata.set('x-sluice-gateway-secret', secret);
  if (call.clientAddress !== '') metadata.set('x-sluice-client-ip', call.clientAddress);
  if (call.tenant !== '') metadata.set('x-sluice-tenant', call.tenant);
  const { caller } = call;
  if (!caller) return metadata;
  metadata.set('x-sluice-subject', caller.subject);
  metadata.set('x-sluice-session', caller.session);
  // No roles: a service speaks for callers, and never as an operator.
  metadata.set('x-sluice-scope', caller.scope);
  metadata.set('x-sluice-guest', String(caller.guest));
  if (caller.unverified) metadata.set('x-sluice-unverified', 'true');
  if (caller.account !== '') metadata.set('x-sluice-account', caller.account);
  if (caller.key !== '') metadata.set('x-sluice-key', caller.key);
  if (caller.models.length > 0) metadata.set('x-sluice-models', caller.models.join(','));
  return metadata;
}
