import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callerSecretFor, gatewaySecretFor } from '@sluice/config';
import { afterAll, expect, test } from 'vitest';
import { PROCESSES } from '../process-table.mjs';
import { PlanError } from './plan.js';
import { openSecretFiles } from './secret-files.js';
import { rootSecret, serviceSecrets } from './service-secrets.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice root secret '));
afterAll(() => rmSync(folder, { recursive: true }));
const root = 'a root of sixteen or more characters';
const rowOf = (name: string) => PROCESSES.find((row) => row.name === name)!;

test('each service gets secrets of its own, and none of them the root', () => {
  const all = PROCESSES.flatMap((row) => Object.values(serviceSecrets(row, root)));
  expect(all).toHaveLength(4);
  expect(new Set([root, ...all]).size).toBe(5);
});

test('postcard is what the allocator knows it as, and the gateway needs nothing but the root', () => {
  const allocator = gatewaySecretFor('allocator', root);
  expect(serviceSecrets(rowOf('allocator'), root)).toEqual({ GATEWAY_SECRET: allocator });
  expect(serviceSecrets(rowOf('postcard'), root)).toEqual({
    GATEWAY_SECRET: gatewaySecretFor('postcard', root),
    ALLOCATOR_SECRET: callerSecretFor('postcard', allocator),
  });
  expect(serviceSecrets(rowOf('gateway'), root)).toEqual({});
});

test('the root is what the user has set, directly or as a file, or generated once', () => {
  const files = openSecretFiles(join(folder, 'secrets'));
  writeFileSync(join(folder, 'root'), `${root}\n`);
  expect(rootSecret({ GATEWAY_SECRET: root }, files)).toBe(root);
  expect(rootSecret({ GATEWAY_SECRET_FILE: join(folder, 'root') }, files)).toBe(root);
  expect(rootSecret({}, files)).toBe(files.value('gateway-secret'));
  expect(() => rootSecret({ GATEWAY_SECRET: 'short' }, files)).toThrow(PlanError);
  expect(() => rootSecret({ GATEWAY_SECRET_FILE: join(folder, 'none') }, files)).toThrow('cannot be read');
});
