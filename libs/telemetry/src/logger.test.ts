import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('./logger.ts', import.meta.url));

/** A process that logs this. */
function run(statement: string) {
  const script = `import { createLogger } from ${JSON.stringify(source)}; const logger = createLogger('tried'); ${statement}`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

/** The one line that it prints. */
function logged(statement: string): Record<string, unknown> {
  const { stdout, stderr } = run(statement);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('a line says what, when and of which service', () => {
  const line = logged(`logger.info({ status: 200, nothing: undefined }, 'call')`);
  expect(line).toEqual({ level: 'info', time: expect.any(String), service: 'tried', status: 200, msg: 'call' });
  expect(Date.parse(line['time'] as string)).not.toBeNaN();
});

test('the time of a line is that of the line, not of one before it', () => {
  const { stdout } = run(`
    for (let left = 3; left > 0; left--) {
      const before = Date.now();
      logger.info({ before });
      logger.info({ before, after: Date.now() });
      while (Date.now() < before + 20);
    }
  `);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { time: string; before: number; after?: number });
  expect(lines).toHaveLength(6);
  for (const { time, before, after = before + 19 } of lines) {
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Date.parse(time)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(time)).toBeLessThanOrEqual(after);
  }
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

test('no line is lost at the end, and a warning is out at once, after what came before it', () => {
  const { stdout } = run(`
    logger.info('first');
    logger.warn('second');
    logger.info('third');
    process.kill(process.pid, 'SIGKILL');
  `);
  expect(stdout.match(/first|second|third/g)).toEqual(['first', 'second']);
  for (const end of ['', 'process.exit(3)', `throw new Error('failed')`]) {
    expect(run(`for (let line = 0; line < 2000; line++) logger.info({ line }); ${end}`).stdout).toContain(
      '"line":1999',
    );
  }
});

test('a reader that leaves does not end the process', async () => {
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { createLogger } from ${JSON.stringify(source)};
       const logger = createLogger('tried');
       const timer = setInterval(() => logger.info('call'), 1);
       setTimeout(() => { clearInterval(timer); process.exitCode = 7; }, 300);`,
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  child.stdout.once('data', () => child.stdout.destroy());
  expect((await once(child, 'exit'))[0]).toBe(7);
});
