import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('./process.ts', import.meta.url));
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

/** What a process that is told to stop did, and when, in milliseconds since it was told. */
async function stopped(delayMs: number, signals: number) {
  const script = `
    import { runProcess } from ${JSON.stringify(source)};
    let told = 0;
    const say = (what) => process.stdout.write(what + ' ' + Math.round(performance.now() - told) + '\\n');
    const logger = { info() {}, error() {}, fatal() {} };
    await runProcess(async () => ({
      logger, delayMs: ${delayMs}, graceMs: 5000,
      drain() { told = performance.now(); say('drain'); },
      async stop() { say('stop'); },
    }));
    process.stdout.write('ready\\n');
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, [...FLAGS, script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    if (output.endsWith('ready\n')) child.kill('SIGTERM');
    if (/drain \d+\n$/.test(output) && signals > 1) child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'exit')) as [number];
  const at = (what: string) => Number(new RegExp(`${what} (\\d+)`).exec(output)?.[1] ?? NaN);
  return { code, drain: at('drain'), stop: at('stop') };
}

test('a process says that it is not ready, takes calls for a while, and only then stops', async () => {
  const { code, drain, stop } = await stopped(1500, 1);
  expect(code).toBe(0);
  expect(drain).toBeLessThan(100);
  expect(stop).toBeGreaterThanOrEqual(1490);
});

test('a second signal ends it at once', async () => {
  const { code, stop } = await stopped(60_000, 2);
  expect(code).toBe(1);
  expect(stop).toBeNaN();
});
