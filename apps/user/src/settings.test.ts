import { expect, test } from 'vitest';
import { userService } from './user.service.js';

const environment = {
  USER_DATABASE_URL: 'postgres://user:secret@127.0.0.1/sluice',
  MASTER_KEY: Buffer.alloc(32).toString('base64'),
  GATEWAY_SECRET: 'a secret of the gateway that is long enough',
};

test('a back-off that is off cannot be tuned: the start names each setting that has no effect', () => {
  const tuned = { ...environment, GUEST_BACKOFF_SECONDS: '30', GUEST_BACKOFF_MULTIPLIER: '3' };
  expect(() => userService(tuned)).not.toThrow();
  expect(() => userService({ ...environment, GUEST_BACKOFF: 'false' })).not.toThrow();
  expect(() => userService({ ...tuned, GUEST_BACKOFF: 'false' })).toThrow(
    'GUEST_BACKOFF_SECONDS="30": has no effect beside GUEST_BACKOFF=false\n' +
      'GUEST_BACKOFF_MULTIPLIER="3": has no effect beside GUEST_BACKOFF=false',
  );
  expect(() => userService({ ...environment, GUEST_BACKOFF_MULTIPLIER: '0.5' })).toThrow('a number from 1 to 10');
});
