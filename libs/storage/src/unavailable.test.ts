import { expect, test } from 'vitest';
import { isConnectionFailure, unavailable } from './unavailable.js';

const error = (code: string, message = 'said by Postgres') => Object.assign(new Error(message), { code });

test.each([
  ['57P01', 'terminating connection due to administrator command'],
  ['57P03', 'the database system is starting up'],
  ['53300', 'too many connections'],
  ['08006', 'connection failure'],
  ['25006', 'cannot execute INSERT in a read-only transaction'],
  ['ECONNREFUSED', 'connect ECONNREFUSED'],
  ['', 'Connection terminated unexpectedly'],
  ['0A000', 'cached plan must not change result type'],
  ['26000', 'prepared statement "x" does not exist'],
])('%s: another connection may help', (code, message) => {
  expect(isConnectionFailure(error(code, message))).toBe(true);
});

test.each(['53100', '53200', '58030', '3F000', '42P01', '42883', '42501', '40001', '40P01'])(
  '%s: later, over any connection',
  (code) => {
    expect(unavailable(error(code))).toMatchObject({ reconnect: false });
  },
);

test.each(['22P02', '23505', '42703', '0A000', '57014', 'XX000'])('%s is a fault of the statement', (code) => {
  expect(unavailable(error(code))).toBeUndefined();
});

test('of several addresses the first failure counts', () => {
  expect(isConnectionFailure(new AggregateError([error('ECONNREFUSED'), error('EINVAL')]))).toBe(true);
  expect(isConnectionFailure(new AggregateError([]))).toBe(false);
});
