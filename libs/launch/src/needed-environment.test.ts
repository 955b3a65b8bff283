import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { PROCESSES, type ProcessSpec } from '../process-table.mjs';
import { environmentOfMachine, neededEnvironment } from './needed-environment.js';

const root = mkdtempSync(join(tmpdir(), 'sluice environment '));
afterAll(() => rmSync(root, { recursive: true }));
writeFileSync(join(root, 'gateway.yaml'), 'upstreams: [{ address: "${OWN_ADDRESS}", token: "${PARTNER_TOKEN:-}" }]\n');

const secrets = {
  AWS_SECRET_ACCESS_KEY: 's',
  GITHUB_TOKEN: 's',
  PGPASSWORD: 's',
  MASTER_KEY: 's',
  MASTER_KEY_FILE: 's',
  ADMIN_PASSWORD: 's',
  GATEWAY_SECRET: 's',
  GATEWAY_SECRET_FILE: 's',
  ALLOCATOR_SECRET: 's',
  MODEL_API_KEY: 's',
  USER_DATABASE_URL: 's',
  ALLOCATOR_DATABASE_URL: 's',
  DATABASE_URL: 's',
  REDIS_URL: 's',
  PARTNER_TOKEN: 's',
};
const plain = {
  PATH: '/bin',
  LOG_LEVEL: 'info',
  ACCESS_TOKEN_SECONDS: '60',
  PASSWORD_MEMORY_KIB: '64',
  TOKEN_ISSUER: 'http://x',
  GATEWAY_CONFIG: 'gateway.yaml',
  OWN_ADDRESS: 'a:1',
};
const specOf = (name: string) => PROCESSES.find((row) => row.name === name) as ProcessSpec;

test.each([
  ['user', ['ADMIN_PASSWORD', 'DATABASE_URL', 'MASTER_KEY', 'MASTER_KEY_FILE', 'USER_DATABASE_URL']],
  ['allocator', ['ALLOCATOR_DATABASE_URL', 'DATABASE_URL']],
  ['postcard', ['DATABASE_URL', 'MODEL_API_KEY']],
  ['gateway', ['GATEWAY_SECRET', 'GATEWAY_SECRET_FILE', 'PARTNER_TOKEN', 'REDIS_URL']],
])('%s gets its own secrets alone, and every plain setting', (name, own) => {
  const given = neededEnvironment(specOf(name), { ...secrets, ...plain }, root);
  expect(given).toMatchObject(plain);
  expect(
    Object.keys(given)
      .filter((key) => !(key in plain))
      .toSorted(),
  ).toEqual(own);
});

test('a program that is not ours gets what it needs of the machine', () => {
  expect(environmentOfMachine({ ...secrets, ...plain, LC_ALL: 'C' })).toEqual({ PATH: '/bin', LC_ALL: 'C' });
});
