/**
 * A service of 20 workers behind the gateway, each a process of its own, at 0.7, 1.5 and 3 times its capacity and then at 0.7
 * again. Callers come at random and have half a second. The service works on for those who have left.
 *
 *   npm run bench overload [adaptive|fixed] [seconds of a phase]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openLoop } from '../../testdata/open-loop.ts';
import { startSlowService } from '../../testdata/slow-service.ts';

const concurrency = process.argv[2] ?? 'adaptive';
const seconds = Number(process.argv[3] ?? 6);
const workers = 20;
const costMs = 60;
const capacity = (workers / costMs) * 1000;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'sluice-overload-'));
const service = await startSlowService(workers, costMs);
const [port, adminPort] = [await freePort(), await freePort()];
const upstream = {
  name: 'slow',
  address: service.address,
  descriptor_set: here('../../testdata/echo.binpb'),
  concurrency,
};
// JSON is YAML.
writeFileSync(join(folder, 'gateway.yaml'), JSON.stringify({ upstreams: [{ ...upstream, max_queued: 10_000 }] }));
const gateway = fork(here('../../dist/main.js'), [], {
  stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  env: {
    ...process.env,
    ACCESS_LOG: 'false',
    GATEWAY_CONFIG: join(folder, 'gateway.yaml'),
    GATEWAY_PORT: String(port),
    GATEWAY_ADMIN_PORT: String(adminPort),
  },
});
try {
  const ready = () =>
    fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await ready())) await new Promise((resolve) => setTimeout(resolve, 50));
  console.log(`concurrency: ${concurrency}; capacity ${capacity.toFixed(0)} calls a second`);
  for (const load of [0.7, 1.5, 3, 0.7]) {
    const result = await openLoop(port, load * capacity, seconds * 1000, { 'x-request-timeout': '500ms' });
    const { sent, answered, refused, late, other, rate, p99 } = result;
    const shares = `${(rate / capacity).toFixed(2)} of capacity, ${((100 * answered) / sent).toFixed(1)} % answered`;
    console.log(`${load}x: ${shares}, p99 ${p99} ms; ${sent} sent, ${refused} refused, ${late} late, ${other} else`);
  }
} finally {
  gateway.kill();
  service.stop();
  rmSync(folder, { recursive: true });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as AddressInfo;
  server.close();
  return free;
}
