import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { simulateGuestStorm } from './storm.js';

const worker = fileURLToPath(new URL('../../../dist/simulate/guest-storm/worker.js', import.meta.url));
/** New tokens of a minute and address, as the user service has them. */
const NEW_MAX = 10;
let apiUrl: string;
let causes: string[];
let devices: Map<string, string>;

const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const { device_id: device, cause } = JSON.parse(body || '{}') as { device_id: string; cause: string };
  const send = (status: number, answer: object) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  };
  if (request.url !== '/api/v1/auth/guest') return send(404, { code: 'ROUTE_NOT_FOUND' });
  causes.push(cause);
  const address = String(request.socket.remoteAddress);
  const known = devices.get(`${address} ${device}`);
  const ofAddress = [...devices.keys()].filter((key) => key.startsWith(`${address} `)).length;
  if (known === undefined && ofAddress >= NEW_MAX) {
    return send(429, { code: 'RATE_LIMIT_EXCEEDED', status: 429, details: { policy: 'guest-address-minute' } });
  }
  const session = known ?? `session-${devices.size}`;
  devices.set(`${address} ${device}`, session);
  return send(200, { access_token: `token of ${session}`, refresh_token: 'r', expires_in: 900, session_id: session });
});

beforeEach(async () => {
  expect(existsSync(worker), 'run `npx tsc -b` first').toBe(true);
  [causes, devices] = [[], new Map()];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1`;
});
afterEach(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

test('97 moments of four processes become one new token, and each of the others says what avoided it', async () => {
  const options = { apiUrl, processes: 4, pauseSeconds: 0, compare: true, output: undefined, jsonOnly: true };
  const report = await simulateGuestStorm(options, worker);
  expect(report.reasons).toEqual([]);
  // Two of the restarts have empty disks; the server returns what the device has.
  expect(report).toMatchObject({ passed: true, occasions: 97, acquisitions: 1, requests: 3 });
  expect(report.avoided_by).toMatchObject({ returned: 2, interval: 5 });
  const { live_token: live = 0, shared_store: shared = 0 } = report.avoided_by;
  expect(live + shared).toBe(89);
  expect(report.without_client).toEqual({
    requests: 97,
    acquisitions: 10,
    refused_by: { 'guest-address-minute': 87 },
  });
  expect(causes).toHaveLength(100);
}, 120_000);
