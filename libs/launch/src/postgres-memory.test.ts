import { expect, test } from 'vitest';
import { sharedBuffers } from './postgres-memory.js';

const GB = 1024 ** 3;

test('a quarter of the memory within bounds, or what was set', () => {
  expect([0.1, 2, 64].map((memory) => sharedBuffers({}, memory * GB))).toEqual(['32MB', '512MB', '1024MB']);
  expect(sharedBuffers({ POSTGRES_SHARED_BUFFERS: '4GB' }, GB)).toBe('4GB');
});

test.each(['4', '4 GB', '4gb', '-1MB', '0MB', "1MB'"])('refuses %j by name', (text) => {
  expect(() => sharedBuffers({ POSTGRES_SHARED_BUFFERS: text })).toThrow(/POSTGRES_SHARED_BUFFERS=.*512MB/);
});
