import { expect, test } from 'vitest';
import { parseAddress } from './hosts.js';

test('an address has one host or several', () => {
  expect(parseAddress('postgres://u:p%40@db/x')).toEqual({
    url: 'postgres://u:p%40@db/x',
    hosts: [{ host: 'db', port: 5432 }],
    wanted: 'any',
  });
  expect(parseAddress('postgresql://u:p@a:1,b,[::1]:3/x?sslmode=require&target_session_attrs=any')).toEqual({
    url: 'postgresql://u:p@a:1/x?sslmode=require',
    hosts: [
      { host: 'a', port: 1 },
      { host: 'b', port: 5432 },
      { host: '::1', port: 3 },
    ],
    wanted: 'any',
  });
  // Of several, the one that takes changes is meant.
  expect(parseAddress('postgres://a,b/x')).toMatchObject({ wanted: 'read-write' });
  expect(parseAddress('postgres://a/x?target_session_attrs=primary')).toMatchObject({ wanted: 'read-write' });
});

test.each([
  'mysql://a/x',
  'postgres://',
  'postgres://a,,b/x',
  'postgres://a:0/x',
  'postgres://a:99999/x',
  'postgres://a:b/x',
  'postgres://a/x?target_session_attrs=fastest',
])('%s is refused', (text) => {
  expect(parseAddress(text)).toBeUndefined();
});
