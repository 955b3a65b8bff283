import { createLogger, Registry } from '@sluice/telemetry';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LateRecords } from './late-records.js';

let metrics: Registry;
let records: LateRecords;
let written: string[];

beforeEach(() => {
  vi.useFakeTimers();
  metrics = new Registry();
  records = new LateRecords(createLogger('test', 'fatal'), metrics);
  written = [];
});
afterEach(() => {
  records.onModuleDestroy();
  vi.useRealTimers();
});

const failing = (code: string) => () => Promise.reject(Object.assign(new Error('from Postgres'), { code }));
const writing = (name: string) => async () => void written.push(name);
const lost = async () =>
  Object.fromEntries(
    (await metrics.getMetricsAsJSON()).flatMap(({ values }) =>
      values.map(({ labels, value }) => [labels['reason'], value]),
    ),
  );

test.each([
  ['a character that Postgres cannot take', '22021'],
  ['a value that is too long', '22001'],
  ['a tenant that does not exist', '23503'],
])('a record with %s is dropped and counted, and holds up none', async (_name, code) => {
  records.add(failing(code));
  records.add(writing('after it'));
  await vi.advanceTimersByTimeAsync(0);
  expect(written).toEqual(['after it']);
  expect(await lost()).toEqual({ unwritable: 1 });
});

test('a record that fails for another reason is tried again, for an hour, and holds up none', async () => {
  let tries = 0;
  records.add(() => (tries++, failing('42501')()));
  records.add(writing('after it'));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(written).toEqual(['after it']);
  expect(tries).toBe(11);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await lost()).toEqual({ 'too-old': 1 });
});

test('while the database cannot be reached one try a second is made, and then all are written in their order', async () => {
  let up = false;
  let tries = 0;
  const record = (name: string) => () => (tries++, up ? writing(name)() : failing('ECONNREFUSED')());
  for (const name of ['first', 'second', 'third']) records.add(record(name));
  await vi.advanceTimersByTimeAsync(5000);
  expect(tries).toBe(6);
  up = true;
  await vi.advanceTimersByTimeAsync(1000);
  expect(written).toEqual(['first', 'second', 'third']);
  expect(await lost()).toEqual({});
});

test('of too many the oldest give way', async () => {
  for (let record = 0; record < 1003; record++) records.add(failing('ECONNREFUSED'));
  await vi.advanceTimersByTimeAsync(0);
  expect((await lost())['too-many']).toBeGreaterThanOrEqual(2);
});
