/**
 * `npm start`: installs and builds what is missing, then runs Postgres and every process of Sluice until Ctrl-C.
 *
 * Up to the install it uses nothing but Node 20; from then on it is the project's own Node that runs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './bootstrap/build.mjs';
import { exitOnStop, line, seconds, step, Stop } from './bootstrap/console.mjs';
import { checkNode, continueOnProjectNode, isProjectNode } from './bootstrap/node.mjs';
import { installPackages } from './bootstrap/packages.mjs';
import { checkPorts } from './bootstrap/ports.mjs';
import { claimFolder, describeCopy, runningCopy } from './bootstrap/running-copy.mjs';
import { quickStart } from './quick-start.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** A terminal sends Ctrl-C to npm too, and npm hands it on: the same press arrives more than once. */
const SAME_PRESS_MS = 700;
const PARENT_POLL_MS = 500;

async function main() {
  checkNode();
  const other = runningCopy(root);
  if (other !== undefined) throw new Stop(describeCopy(other));
  await checkPorts(process.env);
  await installPackages(root);
  if (isProjectNode(root)) await run();
  else continueOnProjectNode(root, fileURLToPath(import.meta.url));
}

async function run() {
  const began = Date.now();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  console.log(`Sluice ${version} on Node ${process.versions.node}`);
  const claim = claimFolder(root);
  if (claim.other) throw new Stop(describeCopy(claim.other));
  process.once('exit', claim.release);

  const { stopped, stop } = stopSignals();
  const system = await startUnlessStopped(stopped.signal, stop, began);
  if (system === undefined) {
    console.log('stopped before the start was complete');
    process.exit(process.exitCode);
  }
  claim.update({ url: system.plan.gatewayUrl });
  console.log(quickStart(root, system, seconds(began)));

  await new Promise((resolve) => {
    if (stopped.signal.aborted) resolve();
    stopped.signal.addEventListener('abort', resolve);
  });
  const stopping = Date.now();
  console.log(`\nstopping: ${stopped.signal.reason.message}`);
  await step('stop', 'calls in flight are finishing', () => system.stop());
  console.log(`stopped in ${seconds(stopping)}; the data is kept in .sluice`);
  process.exit(process.exitCode);
}

/** The running system; undefined when the start was interrupted. */
async function startUnlessStopped(signal, stop, began) {
  try {
    await build(root);
    signal.throwIfAborted();
    const { startSystem } = await import('@sluice/launch');
    return await step('start', 'waiting for the processes', () =>
      startSystem({
        root,
        stateDir: join(root, '.sluice'),
        logFolder: join(root, 'logs'),
        environment: process.env,
        progress: (thing, state) => state !== 'starting' && line(thing, `${state} after ${seconds(began)}`),
        report: (message) => console.log(`\n${new Date().toLocaleTimeString()} ${message}`),
        onGivenUp: (name) => stop(`${name} cannot be kept alive`, 1),
        signal,
      }),
    );
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof Stop) throw error;
    throw new Stop(error.name === 'PlanError' ? error.message : `Sluice did not start. ${error.message}`);
  }
}

/** The first signal, or the loss of the process above, stops in order; a second press ends at once (children follow by themselves). */
function stopSignals() {
  const stopped = new AbortController();
  let first;
  const stop = (why, exitCode = 0) => {
    first ??= Date.now();
    process.exitCode ??= exitCode;
    stopped.abort(new Error(why));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (first !== undefined && Date.now() - first > SAME_PRESS_MS) process.exit(130);
      stop(signal);
    });
  }
  onParentGone(() => stop('the process that started this one is gone'));
  return { stopped, stop };
}

/** Above is either the same script on another Node, at the end of a channel, or npm. Started from a shell, it may outlive that. */
function onParentGone(act) {
  process.once('disconnect', act);
  if (!process.env.npm_lifecycle_event) return;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    act();
  }, PARENT_POLL_MS);
  watch.unref();
}

main().catch(exitOnStop);
