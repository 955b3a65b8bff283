import { expect, it } from 'vitest';
import { postcardService } from './postcard.service.js';

const database = { POSTCARD_DATABASE_URL: 'postgres://sluice@127.0.0.1:5432/sluice' };
const secret = 'a secret of sixteen or more characters';

it('does not start with a secret for the gateway and none for the allocator, which would refuse it', () => {
  expect(() => postcardService({ ...database, GATEWAY_SECRET: secret })).toThrow(
    'ALLOCATOR_SECRET is not set: expected what `sluice-gateway --secret-of allocator --held-by postcard` prints, since GATEWAY_SECRET is set',
  );
});

it.each([{}, { GATEWAY_SECRET: secret, ALLOCATOR_SECRET: secret }])('starts with %o', (secrets) => {
  expect(postcardService({ ...database, ...secrets }).name).toBe('postcard');
});
