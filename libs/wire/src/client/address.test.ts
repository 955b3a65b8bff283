import { expect, test } from 'vitest';
import { parseTarget, TargetError } from './address.js';

test.each([
  ['127.0.0.1:50051', '127.0.0.1:50051', false],
  ['localhost:1', 'localhost:1', true],
  ['users.internal:65535', 'users.internal:65535', true],
  ['grpc://127.0.0.1:50051', '127.0.0.1:50051', false],
  ['http://users.internal:50051/', 'users.internal:50051', true],
  ['GRPC://users:1', 'users:1', true],
  ['dns:///users.internal:50051', 'users.internal:50051', true],
  ['[::1]:50051', '[::1]:50051', false],
  ['grpc://[2001:db8::1]:50051', '[2001:db8::1]:50051', false],
  ['unix:/run/x.sock', 'unix:/run/x.sock', false],
])('%s is %s', (text, key, resolve) => {
  expect(parseTarget(text)).toMatchObject([{ key, resolve }]);
});

test('several, with spaces', () => {
  expect(parseTarget('a:1, grpc://b:2').map(({ key }) => key)).toEqual(['a:1', 'b:2']);
});

test.each([
  ['127.0.0.1', 'a port after the host, as in 127.0.0.1:50051'],
  ['http://users.internal', 'a port after the host'],
  ['host:', 'a port from 1 to 65535'],
  ['host:0', 'a port from 1 to 65535'],
  ['host:99999', 'a port from 1 to 65535 after host'],
  ['host:abc', 'a port from 1 to 65535'],
  ['https://users:443', 'grpc://users:443, and tls: true'],
  ['grpcs://users:443', 'tls: true'],
  ['ftp://users:21', 'host:port, grpc://host:port'],
  ['xds:///users', 'host:port, grpc://host:port'],
  ['dns://users:1', 'host:port'],
  ['http://users:1/path', 'host:port'],
  ['me@users:1', 'host:port'],
  ['::1', '[::1]:port'],
  ['2001:db8::1', '[2001:db8::1]:port'],
  ['[::zz]:1', 'host:port'],
  ['[127.0.0.1]:1', 'host:port'],
  ['999.1.1.1:1', 'host:port'],
  ['ho st:1', 'host:port'],
  ['host:1:2', 'host:port'],
  ['-host:1', 'host:port'],
  ['a:1,,b:2', 'host:port'],
  ['', 'host:port'],
])('%j is refused: expected %s', (text, expected) => {
  expect(() => parseTarget(text)).toThrow(TargetError);
  expect(() => parseTarget(text)).toThrow(expected);
});
