import { expect, test } from 'vitest';
import { parseRedisUrl, RedisUrlError } from '../index.js';

test.each([
  ['redis://127.0.0.1', { kind: 'standalone', hosts: [{ host: '127.0.0.1', port: 6379 }], options: {} }],
  [
    'rediss://me:p%40ss@cache.example:7000/3',
    {
      kind: 'standalone',
      hosts: [{ host: 'cache.example', port: 7000 }],
      options: { username: 'me', password: 'p@ss', db: 3, tls: {} },
    },
  ],
  ['redis://:secret@[::1]:7000', { hosts: [{ host: '::1', port: 7000 }], options: { password: 'secret' } }],
  [
    'redis+sentinel://a,b:7001/main',
    {
      kind: 'sentinel',
      master: 'main',
      hosts: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 7001 },
      ],
    },
  ],
  ['rediss+cluster://a:1,b:2', { kind: 'cluster', hosts: [{ port: 1 }, { port: 2 }], options: { tls: {} } }],
])('%s', (url, address) => {
  expect(parseRedisUrl(url)).toMatchObject(address);
});

test.each([
  'http://a',
  'redis://',
  'redis://a:99999',
  'redis://a,b',
  'redis+sentinel://a',
  'redis://a/x',
  'redis+x://a',
])('%s is refused', (url) => {
  expect(() => parseRedisUrl(url)).toThrow(RedisUrlError);
});

test('a refusal does not repeat the password', () => {
  expect(() => parseRedisUrl('redis://me:hush@a,b')).toThrow(/^(?!.*hush)/);
});
