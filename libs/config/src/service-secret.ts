import { createHmac } from 'node:crypto';

/**
 * Every service has a secret of its own, derived from the root secret that the gateway alone holds (ADR 0005). From the secret of a service
 * neither the root nor that of another service can be found. Each is 32 octets, as 43 characters of base64url.
 */

/** With what the gateway proves itself to `service`, and to no other. @param root GATEWAY_SECRET of the gateway */
export function gatewaySecretFor(service: string, root: string): string {
  return derived(root, `sluice gateway to ${service}`);
}

/**
 * With what the service `caller` proves itself to another one, under its name alone.
 *
 * @param gatewaySecret GATEWAY_SECRET of the one that is called, which thereby knows the secret of every caller without a list
 */
export function callerSecretFor(caller: string, gatewaySecret: string): string {
  return derived(gatewaySecret, `sluice service ${caller}`);
}

function derived(key: string, purpose: string): string {
  return createHmac('sha256', key).update(purpose).digest('base64url');
}
