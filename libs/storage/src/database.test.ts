import { expect, test } from 'vitest';
import { openDatabase } from './database.js';

test('a start that has waited in vain says for how long, by which setting, and why', async () => {
  const options = { schema: 'x', applicationName: 'x', poolSize: 1, poolTimeoutMs: 100, migrations: [] };
  const opened = openDatabase({ ...options, url: 'postgres://u:hunter2@127.0.0.1:1/d', waitMs: 10 });
  await expect(opened).rejects.toMatchObject({
    message: expect.stringContaining('within 0.01 s (DB_START_WAIT_SECONDS)') as string,
    cause: { code: 'ECONNREFUSED' },
  });
});
