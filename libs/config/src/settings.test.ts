import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import {
  choice,
  ConfigurationError,
  decimal,
  duration,
  flag,
  integer,
  port,
  readSettings,
  required,
  secret,
  text,
} from './index.js';

const table = {
  PORT: port('Where it listens.', 8083),
  SIZE: integer('A size.', 4, { min: 1, max: 10 }),
  RATIO: decimal('A ratio.', 0.5, { min: 0, max: 1 }),
  MODE: choice('A mode.', ['best', 'largest'], 'best'),
  ON: flag('On or off.', true),
  NAME: text('A name.', 'sluice'),
  KEY: secret('A key.', 8),
};

const folder = mkdtempSync(join(tmpdir(), 'settings '));
afterAll(() => rmSync(folder, { recursive: true }));

describe('readSettings', () => {
  it('gives the defaults, for empty values too', () => {
    expect(readSettings(table, { SIZE: '' })).toEqual({
      PORT: 8083,
      SIZE: 4,
      RATIO: 0.5,
      MODE: 'best',
      ON: true,
      NAME: 'sluice',
      KEY: undefined,
    });
  });

  it('names the key, the value and the expectation of every fault at once', () => {
    const read = () => readSettings(table, { PORT: '80x', SIZE: '11', RATIO: '1e3', MODE: 'most', ON: 'yes' });
    expect(read).toThrow(ConfigurationError);
    expect(read).toThrow(
      [
        'PORT="80x": expected a whole number from 0 to 65535',
        'SIZE="11": expected a whole number from 1 to 10',
        'RATIO="1e3": expected a number from 0 to 1',
        'MODE="most": expected one of best, largest',
        'ON="yes": expected true or false',
      ].join('\n'),
    );
  });

  it('never prints a secret', () => {
    expect(() => readSettings(table, { KEY: 'hunter2' })).toThrow('KEY=(secret): expected at least 8 characters');
  });

  it('reads a secret from a file and refuses two sources', () => {
    const file = join(folder, 'key');
    writeFileSync(file, 'correct horse\n');
    expect(readSettings(table, { KEY_FILE: file }).KEY).toBe('correct horse');
    expect(() => readSettings(table, { KEY_FILE: file, KEY: 'battery staple' })).toThrow('both set');
    expect(() => readSettings(table, { KEY_FILE: join(folder, 'none') })).toThrow(/KEY_FILE=.*none.*cannot be read/);
  });

  it('stops without a required setting', () => {
    expect(() => readSettings({ KEY: required(secret('A key.')) }, {})).toThrow('KEY is not set');
  });
});

describe('duration', () => {
  const table = { WAIT: duration('A wait.', '5s', { min: 100, max: 60_000 }) };
  it.each([
    ['', 5000],
    ['30', 30_000],
    ['0.5', 500],
    ['250ms', 250],
    ['1m', 60_000],
    ['2 s', 2000],
  ])('%s', (text, milliseconds) => expect(readSettings(table, { WAIT: text }).WAIT).toBe(milliseconds));

  it('refuses what is out of bounds, and says how milliseconds are written', () => {
    for (const text of ['0', '99ms', '61', '1h', '-1', '5 apples', 's']) {
      expect(() => readSettings(table, { WAIT: text })).toThrow(
        `WAIT=${JSON.stringify(text)}: expected a number of seconds from 0.1 to 60, or with a unit (500ms, 5s, 1m)`,
      );
    }
    expect(() => readSettings(table, { WAIT: '5000' })).toThrow('; as milliseconds it is 5000ms');
  });
});

test('a port that Kubernetes has set says so', () => {
  const read = () => readSettings({ GATEWAY_PORT: port('Port.', 1) }, { GATEWAY_PORT: 'tcp://10.0.0.1:8083' });
  expect(read).toThrow('enableServiceLinks: false');
});
