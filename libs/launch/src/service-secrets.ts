import { callerSecretFor, ConfigurationError, gatewaySecretFor, readSettings, secret } from '@sluice/config';
import type { Environment } from '../ports.mjs';
import type { ProcessSpec } from '../process-table.mjs';
import { PlanError } from './plan.js';
import type { SecretFiles } from './secret-files.js';

/**
 * With what gateway and other services prove themselves to a service, and it to those that it calls: by setting. The gateway has the root
 * itself, and nobody else has it.
 *
 * @param root GATEWAY_SECRET of the gateway
 */
export function serviceSecrets({ name, calls = [] }: ProcessSpec, root: string): Record<string, string> {
  if (name === 'gateway') return {};
  const called = calls.map((other) => [
    `${other.toUpperCase()}_SECRET`,
    callerSecretFor(name, gatewaySecretFor(other, root)),
  ]);
  return { GATEWAY_SECRET: gatewaySecretFor(name, root), ...Object.fromEntries(called) };
}

/** The root that the user has set, directly or as a file, or the generated one. @throws PlanError when it cannot be used */
export function rootSecret(environment: Environment, secrets: SecretFiles): string {
  try {
    const { GATEWAY_SECRET } = readSettings({ GATEWAY_SECRET: secret('The root of all.', 16) }, environment);
    return GATEWAY_SECRET ?? secrets.value('gateway-secret');
  } catch (error) {
    if (error instanceof ConfigurationError) throw new PlanError(error.message);
    throw error;
  }
}
