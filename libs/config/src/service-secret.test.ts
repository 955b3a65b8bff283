import { expect, it } from 'vitest';
import { callerSecretFor, gatewaySecretFor } from './service-secret.js';

const root = 'a root of sixteen or more characters';

it('is another one for each service, each pair and each root, and the same at every start', () => {
  const secrets = [
    root,
    gatewaySecretFor('user', root),
    gatewaySecretFor('allocator', root),
    gatewaySecretFor('user', 'another root of some length'),
    callerSecretFor('postcard', gatewaySecretFor('user', root)),
    callerSecretFor('postcard', gatewaySecretFor('allocator', root)),
    callerSecretFor('greeter', gatewaySecretFor('allocator', root)),
  ];
  expect(new Set(secrets).size).toBe(secrets.length);
  for (const secret of secrets.slice(1)) expect(secret).toMatch(/^[\w-]{43}$/);
});

// Services that are not ours have it in their own configuration: these values must never change.
it('is the HMAC-SHA256 that the documentation names', () => {
  expect(gatewaySecretFor('greeter', root)).toBe('0xSXNrKGGAUFwy-N2OzQMz7KPwxG1Krhnar709ejkxE');
  expect(callerSecretFor('postcard', 'the secret of a service')).toBe('bN6smJeJVdmjYZVyDkp8GgzC85ID9MSN9vQlG03kELI');
});
