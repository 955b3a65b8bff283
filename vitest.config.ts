import { defineConfig } from 'vitest/config';

/**
 * Workspace packages resolve to their TypeScript sources, so tests need no build (end-to-end tests do). The list is short because it
 * also reaches `require` in packages from npm, where a condition such as `import` would give them the wrong files.
 */
const shared = {
  resolve: { conditions: ['sluice-source', 'node'] },
  ssr: { resolve: { conditions: ['sluice-source', 'node'] } },
};

/** What is awaited may come late on a busy machine; only what never comes is a failure. */
const patient = { poll: { timeout: 20_000 } };

/**
 * Three kinds of test by file name:
 * - `x.test.ts` unit: no process, database or browser of its own;
 * - `x.integration.test.ts`: starts its own Postgres, Redis or peer processes;
 * - `e2e/x.e2e.test.ts`: starts the built system as a user would.
 */
export default defineConfig({
  ...shared,
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          expect: patient,
          include: ['{libs,apps}/*/src/**/*.test.ts', 'scripts/**/*.test.mjs'],
          testTimeout: 30_000,
          exclude: ['**/*.integration.test.ts', '**/node_modules/**'],
          maxWorkers: 2,
        },
      },
      {
        ...shared,
        test: {
          name: 'integration',
          expect: patient,
          include: ['{libs,apps}/*/src/**/*.integration.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        ...shared,
        test: {
          name: 'e2e',
          expect: patient,
          include: ['e2e/**/*.e2e.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
    ],
  },
});
