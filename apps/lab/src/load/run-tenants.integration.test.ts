import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { planOf } from './plan.js';
import { expectedTokens } from './requirements.js';
import { checkTenants, makeRunTenant } from './run-tenants.js';
import { readScenario } from './scenario.js';
import { Transport } from './transport.js';

interface Seen {
  readonly call: string;
  readonly body: Record<string, unknown>;
  readonly address: string;
}

/** The part of the public face that makes, checks and removes tenants, with as many allocations as it is given. */
async function start(allocations: number) {
  const seen: Seen[] = [];
  const exported = new Set<string>();
  let held = Array.from({ length: allocations }, (_, index) => `message/${index}`);
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const { method, url, socket } = request;
      seen.push({ call: `${method} ${url}`, body, address: socket.remoteAddress! });
      const say = (status: number, answer: object) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      };
      if (url === '/api/v1/auth/login') return say(200, { access_token: 'operator' });
      if (url === '/api/v1/auth/guest') {
        const known = body['tenant'] === undefined || body['tenant'] === 'acme';
        return known ? say(200, {}) : say(400, { code: 'INVALID_ARGUMENT', details: { field: 'tenant' } });
      }
      if (request.headers.authorization !== 'Bearer operator') return say(401, {});
      const [, tenant, rest] = /^\/api\/v1\/admin\/tenants(?:\/([^/]+))?(\/export)?$/.exec(url!) ?? [];
      if (method === 'POST' && url === '/api/v1/admin/tenants') return say(200, body);
      if (rest !== undefined) return (exported.add(tenant!), say(200, {}));
      if (method === 'DELETE' && url!.startsWith('/api/v1/accounts/')) return say(held.length === 0 ? 200 : 400, {});
      if (method === 'DELETE')
        return exported.has(tenant!) && held.length === 0 ? say(200, {}) : say(400, { code: 'NO' });
      if (url!.startsWith('/api/v1/allocations?')) {
        const page = url!.includes('state=SETTLED') ? held.slice(0, 100) : [];
        return say(200, { allocations: page.map((request_id) => ({ request_id })) });
      }
      const [, id] = /^\/api\/v1\/allocations\/([^/]+)\/force_free$/.exec(url!) ?? [];
      held = held.filter((other) => other !== decodeURIComponent(id!));
      return say(200, {});
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void (server.closeAllConnections(), server.close()));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const scenario = readScenario('light_load');
  const plan = planOf(scenario, {
    baseUrl,
    timeScale: 1,
    scaleAddresses: false,
    addressMode: 'source',
    seed: 1,
    callTimeoutMs: 10_000,
  });
  const transport = new Transport(baseUrl, 'source', 10_000);
  onTestFinished(() => transport.close());
  return { plan, transport, seen, held: () => held.length };
}

function account() {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-lab-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'password'), 'secret\n');
  return { email: 'admin@sluice.local', passwordFile: join(folder, 'password') };
}

it('makes a tenant with a budget, gives back what its allocations hold, and removes it after its export', async () => {
  const { plan, transport, seen, held } = await start(250);
  const tenant = await makeRunTenant(plan.baseUrl, account(), transport, plan);
  expect(tenant.id).toMatch(/^lab-[0-9a-f]{10}$/);
  const made = seen.find(({ call }) => call === 'POST /api/v1/admin/tenants');
  expect(made!.body).toMatchObject({ id: tenant.id, open_registration: true });
  const tokens = String(2 * expectedTokens(plan));
  expect(seen.slice(-2)).toMatchObject([
    { call: 'PUT /api/v1/accounts/-/limits', body: { tenant: tenant.id, amount: tokens, period: 'total' } },
    { call: 'PUT /api/v1/accounts/guests/limits', body: { tenant: tenant.id, amount: tokens, period: 'day' } },
  ]);
  await tenant.remove();
  expect(held()).toBe(0);
  expect(seen.slice(-4).map(({ call }) => call)).toEqual([
    `DELETE /api/v1/accounts/guests?tenant=${tenant.id}`,
    `DELETE /api/v1/accounts/-?tenant=${tenant.id}`,
    `GET /api/v1/admin/tenants/${tenant.id}/export`,
    `DELETE /api/v1/admin/tenants/${tenant.id}`,
  ]);
  const freed = seen.filter(({ call }) => call.endsWith('/force_free'));
  expect(freed).toHaveLength(250);
  expect(freed.every(({ body }) => body['tenant'] === tenant.id && body['reason'] !== '')).toBe(true);
  // None of them from an address of the load, and none more often than the gateway allows an address.
  const counts = new Map<string, number>();
  for (const { address } of freed) counts.set(address, (counts.get(address) ?? 0) + 1);
  expect(Math.max(...counts.values())).toBeLessThanOrEqual(80);
  expect([...counts.keys()].some((address) => /^127\.1\.0\.[1-5]$/.test(address))).toBe(false);
});

it('finds tenants that are not there before the run begins', async () => {
  const { plan, transport, seen } = await start(0);
  const named = (...names: string[]) => ({
    ...plan,
    scenario: { ...plan.scenario, tenants: names.map((name) => ({ name, weight: 1, headers: {} })) },
  });
  await expect(checkTenants(transport, named('acme', 'default'))).resolves.toBeUndefined();
  await expect(checkTenants(transport, named('nope', 'acme', 'gone'))).rejects.toThrow('--tenants nope,gone');
  expect(new Set(seen.map(({ call }) => call))).toEqual(new Set(['POST /api/v1/auth/guest']));
});
