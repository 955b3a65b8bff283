import { Metadata } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { originReader, type Caller } from './caller.js';

const secret = 'a secret of the gateway';
const everyone: Caller = {
  subject: 'everyone',
  tenant: 'default',
  session: '',
  roles: ['admin'],
  scope: '',
  guest: false,
  account: '',
  key: '',
  models: [],
};
const metadata = (entries: Record<string, string>) => {
  const made = new Metadata();
  for (const [key, value] of Object.entries(entries)) made.set(key, value);
  return made;
};

test('an open service takes a call of the gateway without a user as everyone’s, one with a user as the user’s, and one past the gateway as nobody’s', () => {
  const originOf = originReader(secret, false, everyone);
  const proof = { 'x-sluice-gateway-secret': secret };
  expect(originOf(metadata(proof), '127.0.0.1:1').caller).toEqual(everyone);
  expect(originOf(metadata({ ...proof, 'x-sluice-subject': 'ada' }), '127.0.0.1:1').caller).toMatchObject({
    subject: 'ada',
    roles: [],
  });
  expect(originOf(metadata({}), '127.0.0.1:1').caller).toBeUndefined();
  expect(originReader(secret, false)(metadata(proof), '127.0.0.1:1').caller).toBeUndefined();
});
