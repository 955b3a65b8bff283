// Builds testdata/everything.binpb from the protos beside it: `node libs/transcode/scripts/build-testdata.mjs`.
// The protos import google/api from the repository's proto folder, so both are put into one module for buf.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = import.meta.dirname;
const root = join(here, '../../..');
const testdata = join(here, '../testdata');
const module = mkdtempSync(join(tmpdir(), 'transcode-testdata-'));
try {
  cpSync(join(root, 'proto/google'), join(module, 'google'), { recursive: true });
  cpSync(join(testdata, 'transcode'), join(module, 'transcode'), { recursive: true });
  writeFileSync(join(module, 'buf.yaml'), 'version: v2\nmodules:\n  - path: .\n');
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  const output = join(testdata, 'everything.binpb');
  execFileSync(process.execPath, [buf, 'build', module, '-o', output], { stdio: 'inherit' });
} finally {
  rmSync(module, { recursive: true, force: true });
}
