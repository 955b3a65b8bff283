// Writes src/local/grpc-services.binpb.ts, the descriptors of the gRPC services that the gateway itself answers:
// `node apps/gateway/scripts/build-own-services.mjs`. The protos are those of the packages that the services use.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../../..');
const module = mkdtempSync(join(tmpdir(), 'sluice-own-services-'));
try {
  mkdirSync(join(module, 'grpc/health/v1'), { recursive: true });
  const reflection = join(root, 'node_modules/@grpc/reflection/build/proto/grpc/reflection');
  cpSync(reflection, join(module, 'grpc/reflection'), { recursive: true });
  cpSync(
    join(root, 'node_modules/grpc-health-check/proto/health/v1/health.proto'),
    join(module, 'grpc/health/v1/health.proto'),
  );
  writeFileSync(join(module, 'buf.yaml'), 'version: v2\nmodules:\n  - path: .\n');
  const output = join(module, 'own.binpb');
  const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
  execFileSync(process.execPath, [buf, 'build', module, '--exclude-source-info', '-o', output], { stdio: 'inherit' });
  const lines =
    readFileSync(output)
      .toString('base64')
      .match(/.{1,110}/g) ?? [];
  const text = lines.map((line) => `    '${line}',`).join('\n');
  writeFileSync(
    join(root, 'apps/gateway/src/local/grpc-services.binpb.ts'),
    `/** FileDescriptorSet of grpc.reflection.v1, grpc.reflection.v1alpha and grpc.health.v1, by scripts/build-own-services.mjs. */\n` +
      `export const ownDescriptorSet: Uint8Array = Buffer.from(\n  [\n${text}\n  ].join(''),\n  'base64',\n);\n`,
  );
} finally {
  rmSync(module, { recursive: true, force: true });
}
