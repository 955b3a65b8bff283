import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('./logger.ts', import.meta.url));

/** Sources say `.js` of each other, as what is built from them does. */
const ofSources = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module';
  const resolve = (name, context, next) => {
    try { return next(name, context); } catch (error) {
      if (!name.endsWith('.js')) throw error;
      return next(name.replace(/js$/, 'ts'), context);
    }
  };
  registerHooks({ resolve });`)}`;
const FLAGS = [
  '--no-warnings',
  '--experimental-transform-types',
  '--import',
  ofSources,
  '--conditions=sluice-source',
  '--input-type=module',
  '-e',
];

/** A process that logs this. */
function run(statement: string) {
  const script = `import { createLogger } from ${JSON.stringify(source)}; const logger = createLogger('tried'); ${statement}`;
  return spawnSync(process.execPath, [...FLAGS, script], { encoding: 'utf8' });
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

test('secrets are left out, three levels deep and in lists, and nothing deeper is told; what was logged is not changed', () => {
  const line = logged(`
    const member = { password: 'hunter2', a: { token: 'hunter2', b: { cookie: 'hunter2', fine: 1 } }, list: [{ secret: 'hunter2' }] };
    const deep = { of: { a: { deep: { thing: 'hunter2' } } }, octets: Buffer.from('hunter2') };
    logger.warn({ ...member, deep });
    if (member.a.token !== 'hunter2') process.exit(1);
  `);
  expect(JSON.stringify(line)).not.toContain('hunter2');
  expect(line).toMatchObject({
    password: '(secret)',
    a: { token: '(secret)', b: { cookie: '(secret)', fine: 1 } },
    list: [{ secret: '(secret)' }],
    deep: { of: { a: '(left out)' }, octets: '(7 octets)' },
  });
});

const LIBRARY = `
  import { createRequire } from 'node:module';
  const foreign = (error) => Object.assign(error, {
    stack: error.stack.replace(/\\n    at /, '\\n    at Parser.parse (/app/node_modules/pg-protocol/dist/parser.js:1:2)$&'),
  });
  const secrets = {
    code: '57P01', severity: 'FATAL', detail: 'hunter2', hint: 'hunter2', where: 'hunter2', query: 'hunter2', parameters: ['hunter2'],
    internalQuery: 'hunter2', config: { headers: { authorization: 'hunter2' } }, input: 'hunter2', table: 'users', constraint: 'is hunter2?',
  };
  const thrown = foreign(Object.assign(new Error('not hunter2', { cause: foreign(new Error('hunter2')) }), secrets));
  const several = foreign(new AggregateError([thrown], 'hunter2'));
  const parsed = [
    () => JSON.parse('hunter2'), () => new URL('hunter2'), () => BigInt('hunter2'), () => new RegExp('(hunter2'),
    () => createRequire('/')('hunter2'),
  ].map((parse) => { try { return parse(); } catch (error) { return error; } });
`;

test.each([
  ['as `err`', `logger.error({ err: thrown }, 'failed')`],
  ['as `err`, without a text', `logger.error({ err: thrown })`],
  ['alone', `logger.error(thrown)`],
  ['under another name, and deeper', `logger.warn({ failure: thrown, a: { b: thrown }, all: [thrown] }, 'failed')`],
  ['as what is put into the text', `logger.error('failed: %s %o', thrown, thrown)`],
  ['as one of several', `logger.error({ err: several })`],
  ['as the cause of ours', `logger.error({ err: new Error('ours', { cause: several }) })`],
  ['of a parser', `for (const err of parsed) logger.error({ err }, 'failed')`],
  ['that is no error', `for (const err of ['hunter2', { password: 'hunter2' }]) logger.error({ err }, 'failed')`],
])('nothing that an error of a library carries is logged: %s', (_name, statement) => {
  const { stdout, stderr } = run(`${LIBRARY} ${statement}`);
  expect(stderr).toBe('');
  expect(stdout.split('\n').length).toBeGreaterThan(1);
  expect(stdout).not.toContain('hunter2');
});

test('of an error of a library the kind, the code and the place are told, of ours the message too', () => {
  const line = logged(`${LIBRARY} logger.error({ err: new TypeError('ours', { cause: thrown }) }, 'failed')`);
  expect(line).toMatchObject({
    msg: 'failed',
    err: {
      type: 'TypeError',
      message: 'ours',
      stack: expect.stringMatching(/^    at file:/),
      cause: {
        type: 'Error',
        code: '57P01',
        condition: 'admin_shutdown',
        table: 'users',
        stack: expect.stringMatching(/^    at Parser.parse/),
        cause: { type: 'Error' },
      },
    },
  });
});

test.each([
  ['an Error', `nest.error(thrown, 'Context')`],
  ['its message and stack', `nest.error(thrown.message, thrown.stack, 'Context')`],
  ['its text', `nest.fatal(String(thrown), 'Context')`],
])("Nest's logger tells of %s no more", (_name, statement) => {
  const nest = fileURLToPath(new URL('./nest-logger.ts', import.meta.url));
  const line = logged(`
    import { nestLogger } from ${JSON.stringify(nest)};
    ${LIBRARY} const nest = nestLogger(logger); ${statement}`);
  expect(line).toMatchObject({ context: 'Context', msg: 'the framework met an error' });
  expect(JSON.stringify(line)).not.toContain('hunter2');
});

test.each([
  ['does not start', `throw thrown`],
  ['meets what nobody caught', `setTimeout(() => { throw thrown }); return running`],
  ['meets a rejection that nobody caught', `setTimeout(() => void Promise.reject(thrown)); return running`],
])('a process that %s ends with a line that tells no more either', (_name, body) => {
  const { stdout, stderr, status } = run(`
    import { runProcess } from ${JSON.stringify(fileURLToPath(new URL('./process.ts', import.meta.url)))};
    ${LIBRARY} const running = { logger, graceMs: 0, drain() {}, async stop() {} };
    setInterval(() => {}, 1000);
    await runProcess(async () => { ${body} });`);
  expect(status).toBe(1);
  expect(stdout + stderr).toContain('57P01');
  expect(stdout + stderr).not.toContain('hunter2');
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
      ...FLAGS,
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

test('a full disk under its log does not end a process', async () => {
  const full = openSync('/dev/full', 'w');
  try {
    const child = spawn(
      process.execPath,
      [
        ...FLAGS,
        `import { createLogger, droppedLogLines } from ${JSON.stringify(source)};
         const logger = createLogger('tried');
         for (let line = 0; line < 500; line++) logger.error('call failed');
         console.log('by itself');
         process.exitCode = droppedLogLines().get('ENOSPC') === 500 ? 7 : 8;`,
      ],
      { stdio: ['ignore', full, 'ignore'] },
    );
    expect((await once(child, 'exit'))[0]).toBe(7);
  } finally {
    closeSync(full);
  }
});
