import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** What a process that logs this prints. */
function logged(statement: string): Record<string, unknown> {
  const source = fileURLToPath(new URL('./logger.ts', import.meta.url));
  const script = `import { createLogger } from ${JSON.stringify(source)}; const logger = createLogger('tried'); ${statement}`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('a line says what, when and of which service', () => {
  const line = logged(`logger.info({ status: 200, nothing: undefined }, 'call')`);
  expect(line).toEqual({ level: 'info', time: expect.any(String), service: 'tried', status: 200, msg: 'call' });
  expect(Date.parse(line['time'] as string)).not.toBeNaN();
});

test('secrets are left out, three levels deep, in lists and in errors; what was logged is not changed', () => {
  const line = logged(`
    const member = { password: 'hunter2', a: { token: 'hunter2', b: { cookie: 'hunter2', fine: 1 } }, list: [{ secret: 'hunter2' }] };
    const err = Object.assign(new Error('failed', { cause: new Error('inner') }), { authorization: 'hunter2' });
    logger.warn({ ...member, err });
    if (member.a.token !== 'hunter2') process.exit(1);
  `);
  expect(JSON.stringify(line)).not.toContain('hunter2');
  expect(line).toMatchObject({
    password: '(secret)',
    a: { token: '(secret)', b: { cookie: '(secret)', fine: 1 } },
    list: [{ secret: '(secret)' }],
    err: { message: 'failed', authorization: '(secret)', cause: { message: 'inner' } },
  });
});
