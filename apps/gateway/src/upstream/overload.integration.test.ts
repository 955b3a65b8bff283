import { afterEach, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { openLoop } from '../../testdata/open-loop.js';
import { type SlowService, startSlowService } from '../../testdata/slow-service.js';

const WORKERS = 20;
const COST_MS = 60;
/** Calls in a second. */
const CAPACITY = (WORKERS / COST_MS) * 1000;
const IMPATIENT = { 'x-request-timeout': '500ms' };

let service: SlowService | undefined;
let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.stop();
  service?.stop();
});

it('a service of twenty workers gives what it can at three times its capacity, and answers everybody soon afterwards', async () => {
  service = await startSlowService(WORKERS, COST_MS);
  gateway = await startTestGateway(service.address);
  const before = await openLoop(gateway.port, 0.5 * CAPACITY, 2000, IMPATIENT);
  expect(before).toMatchObject({ answered: before.sent });
  await openLoop(gateway.port, 3 * CAPACITY, 2000, IMPATIENT);
  const overload = await openLoop(gateway.port, 3 * CAPACITY, 3000, IMPATIENT);
  expect(overload.rate / CAPACITY).toBeGreaterThan(0.7);
  expect(overload.refused).toBeGreaterThan(overload.sent / 3);
  expect(gateway.runtime.upstreams[0]!.channel.stats.retries).toBe(0);
  await openLoop(gateway.port, 0.7 * CAPACITY, 1500, IMPATIENT);
  const after = await openLoop(gateway.port, 0.7 * CAPACITY, 2000, IMPATIENT);
  expect(after.answered / after.sent).toBeGreaterThan(0.98);
});
