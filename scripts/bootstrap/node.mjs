import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { Stop } from './console.mjs';

/** What the services need when the project's own Node has no build for this platform. */
const OWN_NODE_MIN = [22, 12];

/** Refuses a Node that cannot even run the bootstrap. */
export function checkNode() {
  if (versionAtLeast(process.versions.node, [20, 0])) return;
  throw new Stop(
    `Node ${process.versions.node} is too old: Sluice needs Node 20 or newer to start (it then runs on its own Node 24).`,
  );
}

/** The Node that the project runs on: its own from npm, or the machine's where there is none for this platform. */
export function projectNode(root) {
  const own = join(root, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (existsSync(own)) return own;
  if (versionAtLeast(process.versions.node, OWN_NODE_MIN)) return process.execPath;
  throw new Stop(
    `There is no Node in npm for ${process.platform}-${process.arch}, and this one (${process.versions.node}) is older than ` +
      `${OWN_NODE_MIN.join('.')}. Install Node 24 and run this again.`,
  );
}

export function isProjectNode(root) {
  return realpathSync(projectNode(root)) === realpathSync(process.execPath);
}

/**
 * Runs the same script on the project's Node and ends as it ends. The channel between the two lets the inner one notice when
 * this one is killed; signals that only this one gets are handed on.
 */
export function continueOnProjectNode(root, script) {
  const child = spawn(projectNode(root), [script, ...process.argv.slice(2)], {
    cwd: root,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, PATH: `${join(projectNode(root), '..')}:${process.env.PATH}` },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.once('exit', (code, signal) => {
    if (signal !== null) console.error(`${script} was ended by ${signal}`);
    process.exit(code ?? 1);
  });
}

function versionAtLeast(version, [major, minor]) {
  const [haveMajor, haveMinor] = version.split('.').map(Number);
  return haveMajor > major || (haveMajor === major && haveMinor >= minor);
}
