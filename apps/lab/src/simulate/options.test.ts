import { describe, expect, test } from 'vitest';
import { UsageError } from '../load/scenario.js';
import { readOptions, type ExpiryOptions } from './options.js';

describe('options', () => {
  test('nothing given: the defaults', () => {
    expect(readOptions([], {})).toEqual({
      apiUrl: 'http://127.0.0.1:8083/api/v1',
      userId: 'test-user',
      initialToken: undefined,
      refreshToken: undefined,
      concurrency: 6,
      batchSize: 6,
      rounds: 1,
      endpoints: ['/me', '/metrics', '/me/sessions'],
      clients: undefined,
      metrics: { url: 'http://127.0.0.1:9084/metrics', asked: false },
      logFile: undefined,
      settleSeconds: 3,
      output: undefined,
      jsonOnly: false,
    });
  });

  test('variables count, flags count more, and an empty variable is none', () => {
    const environment = { BASE_URL: 'https://sluice.example/base', ROUNDS: '4', CONCURRENCY: '', REFRESH_TOKEN: 'r' };
    expect(readOptions(['--rounds', '2', '--endpoints', '/me, /strategy', '--json'], environment)).toMatchObject({
      apiUrl: 'https://sluice.example/base',
      rounds: 2,
      concurrency: 6,
      refreshToken: 'r',
      endpoints: ['/me', '/strategy'],
      jsonOnly: true,
    });
  });

  test('the metrics are those beside a gateway on this machine, or what is named', () => {
    const metrics = (...args: string[]) => (readOptions(args, {}) as ExpiryOptions).metrics;
    expect(metrics('--base-url', 'http://localhost:8183')?.url).toBe('http://127.0.0.1:9184/metrics');
    expect(metrics('--base-url', 'https://sluice.example')).toBeUndefined();
    expect(metrics('--metrics', 'http://a/metrics')).toEqual({ url: 'http://a/metrics', asked: true });
  });

  test('many clients need an address on this machine', () => {
    expect(readOptions(['--clients', '3', '--base-url', 'http://localhost:9'], {})).toMatchObject({
      apiUrl: 'http://127.0.0.1:9/api/v1',
    });
    expect(() => readOptions(['--clients', '3', '--base-url', 'http://192.0.2.1'], {})).toThrow(UsageError);
  });

  test.each([
    [['--rounds', '0'], '--rounds 0: expected a whole number from 1'],
    [['--concurrency', '1.5'], '--concurrency 1.5'],
    [['--base-url', 'sluice'], '--base-url sluice: expected http://host:port'],
    [['--endpoints', 'me'], '"me" is no path'],
    [['--settle', 'x'], '--settle x'],
    [['--nonsense'], 'nonsense'],
  ])('%j is refused', (args, message) => {
    expect(() => readOptions(args, {})).toThrow(message);
    expect(() => readOptions(args, {})).toThrow(UsageError);
  });

  test('help is asked for', () => {
    expect(readOptions(['--help', '--rounds', 'x'], {})).toBe('help');
  });
});
