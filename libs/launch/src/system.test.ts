import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { startSystem } from './system.js';

test('settings that can only be misspelt stop the start before anything is made, all at once; others are told once', async () => {
  const stateDir = join(tmpdir(), `sluice-none-${process.pid}`);
  const told: string[] = [];
  const start = (environment: Record<string, string>) =>
    startSystem({ root: '.', stateDir, logFolder: stateDir, environment, report: (message) => told.push(message) });
  await expect(start({ GATEWAY_PROT: '1', ALLOC_STRATEGI: 'best' })).rejects.toThrow(
    'GATEWAY_PROT: there is no such setting; did you mean GATEWAY_PORT?\nALLOC_STRATEGI: there is no such setting; did you mean ALLOC_STRATEGY?',
  );
  await expect(start({ PORT: '4000', DB_MAX_OVERFLOW: '5', PORT_OFFSET: 'x' })).rejects.toThrow('PORT_OFFSET="x"');
  expect(told.map((line) => line.split(' ')[0])).toEqual(['PORT', 'DB_MAX_OVERFLOW']);
  expect(existsSync(stateDir)).toBe(false);
});
