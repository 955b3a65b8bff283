import { describe, expect, it } from 'vitest';
import { readFlags } from './options.js';
import { planOf } from './plan.js';
import { parseScenario, readScenario, scenarioNames, UsageError } from './scenario.js';
import { checkTarget } from './target.js';

describe('scenarios', () => {
  it.each([
    ['light_load', 100, 10, 5, 0.99, 0],
    ['medium_load', 500, 30, 10, 0.95, 0.05],
    ['heavy_load', 1000, 60, 20, 0.9, 0.1],
    ['stress_test', 1000, 120, 50, 0.85, 0.2],
    ['endurance_test', 1000, 240, 15, 0.95, 0.05],
    ['burst_test', 1000, 5, 100, 0.8, 0.3],
  ])('%s', (name, sessions, minutes, addresses, success_min, refused_max) => {
    expect(readScenario(name)).toMatchObject({
      sessions,
      minutes,
      addresses,
      thresholds: { success_min, refused_max, p95_ms_max: 5000, p99_ms_max: 10_000, create_per_second_min: 0.5 },
    });
  });

  it('are those six, and only endurance_test asks for a leak check', () => {
    expect(scenarioNames()).toHaveLength(6);
    expect(scenarioNames().filter((name) => readScenario(name).leak_check)).toEqual(['endurance_test']);
  });

  it.each([{ 'x-a': 'b\r\nx-c: d' }, { 'x a': 'b' }, { 'x-a': 1 }, { Host: 'elsewhere' }, { 'content-length': '0' }])(
    'take no header field of a tenant like %j',
    (headers) => {
      const { name: _, ...content } = readScenario('light_load');
      expect(() => parseScenario('mine', { ...content, tenants: [{ name: 'a', headers }] })).toThrow(/tenants=/);
      const good = { name: 'a', headers: { 'x-a': 'b c' } };
      expect(parseScenario('mine', { ...content, tenants: [good] }).tenants).toEqual([{ ...good, weight: 1 }]);
    },
  );

  it('create their sessions before the hold, fast enough for their threshold', () => {
    const options = {
      baseUrl: '',
      timeScale: 1,
      scaleAddresses: false,
      addressMode: 'source',
      seed: 1,
      callTimeoutMs: 1,
    } as const;
    for (const scenario of scenarioNames().map(readScenario)) {
      const { createPerSecond, phases } = planOf(scenario, options);
      expect(createPerSecond).toBeGreaterThanOrEqual(0.6);
      expect((scenario.sessions / createPerSecond) * 1000).toBeLessThanOrEqual(phases.holdMs + 1);
    }
  });

  it('name every fault of a file', () => {
    const faulty = { sessions: 0, minutes: '10', adresses: 5, thresholds: { success_min: 99 }, mix: { message: 0 } };
    expect(() => parseScenario('faulty', faulty)).toThrow(UsageError);
    expect(() => parseScenario('faulty', faulty)).toThrow(
      /sessions=0.*\n.*minutes="10".*\n.*adresses is not a key.*\n.*success_min=99.*\n.*addresses is missing.*\n.*missing.*\n.*mix: expected/,
    );
  });

  it('know no keys of the prototype', () => {
    expect(() => parseScenario('x', JSON.parse('{"__proto__":1,"constructor":2}'))).toThrow(/is not a key/);
  });
});

describe('time scale', () => {
  const scenario = readScenario('heavy_load');
  const options = { baseUrl: '', scaleAddresses: false, addressMode: 'source', seed: 1, callTimeoutMs: 1 } as const;

  it('shrinks phases and the controller’s interval, and raises rates alike', () => {
    const whole = planOf(scenario, { ...options, timeScale: 1 });
    const scaled = planOf(scenario, { ...options, timeScale: 60 });
    expect(scaled.phases.endMs).toBe(60_000);
    expect(scaled.controlIntervalMs).toBe(500);
    expect(scaled.idleMs).toBe(60_000);
    expect(scaled.cleanUpEveryMs).toBe(5_000);
    expect(scaled.callsPerSecond).toBeCloseTo(whole.callsPerSecond * 60);
    expect(scaled.createPerSecond).toBeCloseTo(whole.createPerSecond * 60);
    expect(scaled.addressCount).toBe(20);
  });

  it('can use as many more addresses, so that each asks as much as unscaled in a real minute', () => {
    const scaled = planOf(scenario, { ...options, timeScale: 60, scaleAddresses: true });
    expect(scaled.addressCount).toBe(1200);
    expect((scaled.callsPerSecond * 60) / scaled.addressCount).toBeCloseTo(20);
  });
});

describe('flags', () => {
  it('override the scenario', () => {
    const { scenario } = readFlags([
      'light_load',
      '--sessions',
      '7',
      '--duration',
      '30',
      '--ip-count',
      '3',
      '--rate',
      '60',
    ]).request();
    expect(scenario).toMatchObject({
      name: 'light_load',
      sessions: 7,
      minutes: 0.5,
      addresses: 3,
      messages_per_minute_per_address: 60,
    });
  });

  it('watch the services where they are when the gateway’s port was moved', () => {
    const urls = (...args: string[]) =>
      readFlags(['light_load', ...args])
        .request()
        .services.map(({ url }) => url);
    const at = (gateway: number, user: number, allocator: number, postcard: number) =>
      [gateway, user, allocator, postcard].map((port) => `http://127.0.0.1:${port}/metrics`);
    expect(urls('-s', 'http://127.0.0.1:8083')).toEqual(at(9084, 9051, 9052, 9053));
    expect(urls('-s', 'http://127.0.0.1:8183')).toEqual(at(9184, 9151, 9152, 9153));
    expect(urls('-s', 'http://127.0.0.1:8083', '--watch', 'a=http://b/c')).toEqual(['http://b/c']);
    expect(urls('-s', 'http://a.example', '--i-own-this-target', 'a.example', '--forwarded')).toEqual([]);
  });

  it('suffice without a scenario: ten addresses, and a title that says what it is', () => {
    const custom = (...args: string[]) =>
      readFlags(['--sessions', '7', '--duration', '60', ...args]).request().scenario;
    expect(custom()).toMatchObject({
      name: 'custom',
      title: 'A run of its own: 7 sessions for 60',
      minutes: 1,
      addresses: 10,
    });
    expect(custom('--ip-count', '20').addresses).toBe(20);
    expect(() => readFlags(['--sessions', '7']).request()).toThrow(/name a scenario/);
  });

  it.each([
    ['3600', 60],
    ['90s', 1.5],
    ['60m', 60],
    ['1.5h', 90],
  ])('--duration %s are %d minutes', (text, minutes) => {
    expect(readFlags(['light_load', '--duration', text]).request().scenario.minutes).toBe(minutes);
  });

  it('--scenario NAME is the scenario, too', () => {
    expect(readFlags(['--scenario', 'heavy_load']).request().scenario).toEqual(readScenario('heavy_load'));
  });

  it('for another machine are asked for once', () => {
    const elsewhere = (...args: string[]) =>
      readFlags(['stress_test', '-s', 'http://a.example:8800', ...args]).request();
    expect(elsewhere).toThrow(/needs --i-own-this-target a.example.*trusted_proxies/s);
    expect(elsewhere('--i-own-this-target', 'a.example').options).toMatchObject({
      baseUrl: 'http://a.example:8800',
      addressMode: 'forwarded',
    });
  });

  it.each([
    [['no_such'], /there is no scenario no_such/],
    [['light_load', '--time-scale', 'fast'], /--time-scale fast: expected a number/],
    [['light_load', '--sessions', '-1'], /sessions=/],
    [['light_load', '-s', 'ftp://x'], /expected http/],
    [['light_load', '-s', 'http://[::1]:8083'], /use 127.0.0.1 or --forwarded/],
    [['light_load', 'heavy_load'], /one scenario at a time/],
    [['light_load', '--scenario', 'heavy_load'], /one scenario at a time/],
    ...['', 'x', '-1', '5d', '1h30m', '1e3'].map((text): [string[], RegExp] => [
      ['light_load', `--duration=${text}`],
      /--duration .*: expected seconds, or a time with a unit/,
    ]),
    [['light_load', '--duration', '0'], /minutes=0: expected/],
    [['light_load', '--users', 'robots'], /users="robots": expected guests or accounts/],
    [['light_load', '--watch', 'x'], /expected NAME=URL/],
  ])('%j are refused', (args, message) => {
    expect(() => readFlags(args).request()).toThrow(message);
  });
});

describe('checkTarget', () => {
  it.each(['http://localhost:8083', 'http://127.0.0.1:1', 'http://127.9.9.9', 'http://[::1]:8083'])(
    'takes %s',
    (url) => {
      expect(checkTarget(url, undefined).loopback).toBe(true);
    },
  );

  it.each(['http://example.com', 'http://10.0.0.1:80', 'http://localhost.example.com', 'http://127.0.0.1.example.com'])(
    'refuses %s unless it is named',
    (url) => {
      expect(() => checkTarget(url, undefined)).toThrow(/--i-own-this-target/);
      expect(() => checkTarget(url, 'other.example')).toThrow(/--i-own-this-target/);
      expect(checkTarget(url, new URL(url).hostname).loopback).toBe(false);
    },
  );
});
