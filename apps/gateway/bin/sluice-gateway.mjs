#!/usr/bin/env node
// Runs the gateway on a Node that it works with: this one, or the one that comes with the project.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const NODE_MIN = 22;

if (Number(process.versions.node.split('.')[0]) >= NODE_MIN) {
  await import('../dist/cli.js');
} else {
  const child = spawn(ownNode(), process.argv.slice(1), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => process.exit(code ?? 1));
}

function ownNode() {
  try {
    const manifest = `node-${process.platform}-${process.arch}/package.json`;
    return join(dirname(createRequire(import.meta.url).resolve(manifest)), 'bin/node');
  } catch {
    console.error(`sluice-gateway needs Node ${NODE_MIN} or newer; this is ${process.versions.node}.`);
    process.exit(1);
  }
}
