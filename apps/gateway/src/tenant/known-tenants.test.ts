import { expect, it } from 'vitest';
import { KnownTenants, UNKNOWN_TENANT } from './known-tenants.js';

it('gives whoever nobody has vouched for one share together', () => {
  const tenants = new KnownTenants();
  tenants.configure(['default']);
  expect(['default', 'acme', 'made-up'].map((name) => tenants.shareOf(name))).toEqual([
    'default',
    UNKNOWN_TENANT,
    UNKNOWN_TENANT,
  ]);
  tenants.learn('acme');
  tenants.configure(['other']);
  expect(['default', 'acme', 'other'].map((name) => tenants.shareOf(name))).toEqual([UNKNOWN_TENANT, 'acme', 'other']);
});

it('remembers so many, and forgets those first that it has not heard of for longest', () => {
  const tenants = new KnownTenants();
  tenants.learn('acme');
  tenants.learn('bravo');
  for (let index = 0; index < 9999; index++) {
    if (index === 5000) tenants.learn('acme');
    tenants.learn(`t${index}`);
  }
  expect(tenants.shareOf('acme')).toBe('acme');
  expect(tenants.shareOf('bravo')).toBe(UNKNOWN_TENANT);
});
