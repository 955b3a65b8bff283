import { describe, expect, test } from 'vitest';
import { findFaults } from './check-imports.mjs';

const packages = {
  '.': { name: 'sluice', devDependencies: { vitest: '1' } },
  'libs/config': { name: '@sluice/config' },
  'libs/limit': { name: '@sluice/limit', dependencies: { '@sluice/config': '1', ioredis: '1' } },
  'libs/storage': { name: '@sluice/storage', dependencies: { '@sluice/limit': '1', pg: '1' } },
  'libs/testing': { name: '@sluice/testing', dependencies: { '@sluice/storage': '1' } },
  'apps/user': { name: '@sluice/user', dependencies: { '@sluice/storage': '1', '@sluice/allocator': '1' } },
  'apps/allocator': { name: '@sluice/allocator', devDependencies: { '@sluice/testing': '1' } },
};
const faults = (files) => findFaults(files, packages);

describe('allowed', () => {
  test.each([
    ['a lower layer', { 'libs/storage/src/a.ts': `import { x } from '@sluice/limit';` }],
    ['a declared package', { 'libs/storage/src/a.ts': `import pg from 'pg';` }],
    [
      'a file of the same package',
      { 'libs/storage/src/deep/a.ts': `import { x } from '../b.js';`, 'libs/storage/src/b.ts': '' },
    ],
    ['the workbench in a test', { 'apps/allocator/src/a.test.ts': `import { x } from '@sluice/testing';` }],
    [
      'an import in a comment',
      { 'libs/config/src/a.ts': `/**\n * import { x } from '@sluice/storage';\n */\n// import y from 'pg';` },
    ],
    ['a driver in the Redis store', { 'libs/limit/src/redis/store.ts': `import { Redis } from 'ioredis';` }],
    ['a package from the end-to-end tests', { 'e2e/a.e2e.test.ts': `import { x } from '@sluice/testing';` }],
  ])('%s', (_, files) => expect(faults(files)).toEqual([]));
});

describe('refused', () => {
  test.each([
    [
      'a relative escape',
      'libs/config/src/a.ts',
      `import { x } from '../../limit/src/index.js';`,
      'stays in its package',
    ],
    [
      'a path past index.ts',
      'libs/storage/src/a.ts',
      `import { x } from '@sluice/limit/src/memory.js';`,
      'past a package',
    ],
    ['a higher layer', 'libs/limit/src/a.ts', `import {\n  x,\n} from '@sluice/storage';`, 'stands below'],
    ['an undeclared package', 'libs/config/src/a.ts', `import pg from 'pg';`, 'not declared in libs/config'],
    ['a test dependency in production code', 'libs/config/src/a.ts', `import { test } from 'vitest';`, 'not declared'],
    ['an app in an app', 'apps/user/src/a.ts', `import { x } from '@sluice/allocator';`, 'nothing imports an app'],
    [
      'the workbench in production code',
      'apps/allocator/src/a.ts',
      `export { x } from '@sluice/testing';`,
      'workbench',
    ],
    [
      'a driver in an algorithm',
      'libs/limit/src/gcra.ts',
      `const { Redis } = await import('ioredis');`,
      'no framework',
    ],
    ['a socket in an algorithm', 'libs/limit/src/gcra.ts', `import net from 'node:net';`, 'no framework'],
  ])('%s', (_, path, text, sentence) => {
    expect(faults({ [path]: text })).toEqual(expect.arrayContaining([expect.stringContaining(sentence)]));
  });

  test('packages in a circle', () => {
    const found = faults({
      'libs/limit/src/a.ts': `import { x } from '@sluice/storage';`,
      'libs/storage/src/a.ts': `import { x } from '@sluice/limit';`,
    });
    expect(found).toContainEqual('packages import each other in a circle: libs/limit → libs/storage → libs/limit');
  });
});
