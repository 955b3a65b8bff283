import { Agent, request } from 'node:http';
import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { client, type Client } from './client.js';

let system: TestSystem;
let api: Client;

beforeAll(async () => {
  system = await startSystem({
    env: {
      NODES: 'a,b,c',
      NODE_BUDGET: '40',
      RATE_LIMIT_ENABLED: 'false',
      PASSWORD_MEMORY_KIB: '4096',
      PASSWORD_HASH_CONCURRENCY: '1',
      PASSWORD_QUEUE_MS: '2000',
    },
    replicas: { allocator: 2 },
  });
  api = client(system.baseUrl);
});
afterAll(() => system?.stop());

/** What the nodes say is used, and what the live allocations sum up to. */
async function books(): Promise<{ used: number; capacity: number; live: number }> {
  const [row] = await system.query<{ used: string; capacity: string; live: string }>(`
    select (select sum(used) from budget.nodes) as used,
           (select sum(capacity) from budget.nodes) as capacity,
           (select coalesce(sum(token_count), 0) from budget.allocations where state = 1) as live`);
  return { used: Number(row!.used), capacity: Number(row!.capacity), live: Number(row!.live) };
}

test('200 allocations at once for a capacity of 120, over two replicas: exactly 120 are granted', async () => {
  const session = await api.signIn();
  const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => session.allocate(`rush-${index}`, 1)));
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(120);
  expect(statuses.filter((status) => status === 429)).toHaveLength(80);
  expect(await books()).toEqual({ used: 120, capacity: 120, live: 120 });

  const granted = answers.filter(({ status }) => status === 200).map(({ body }) => body.request_id);
  const freed = await Promise.all(granted.flatMap((id) => [session.free(id), session.free(id)]));
  expect(freed.every(({ status, body }) => status === 200 && body.state === 'FREED')).toBe(true);
  expect(await books()).toEqual({ used: 0, capacity: 120, live: 0 });
});

test('one request id 50 times at once: one debit, equal answers', async () => {
  const session = await api.signIn();
  const answers = await Promise.all(Array.from({ length: 50 }, () => session.allocate('same', 7)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 200));
  expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  expect(await books()).toMatchObject({ used: 7, live: 7 });
});

describe('a flood of logins', () => {
  const password = 'correct horse battery staple';
  const login = (tenant: string, by: 'header' | 'message') => {
    const account = { email: `one@${tenant}.example`, password };
    return by === 'header'
      ? api.call('POST', '/api/v1/auth/login', account, { 'x-tenant-id': tenant })
      : api.call('POST', '/api/v1/auth/login', { ...account, tenant });
  };
  /** The status of a login from an address of the loopback network; wrong passwords count against addresses. */
  const loginFrom = (localAddress: string, tenant: string, agent: Agent) =>
    new Promise<number>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const url = `${system.baseUrl}/api/v1/auth/login`;
      const sent = request(url, { method: 'POST', agent, localAddress, headers }, (answer) => {
        answer.resume().once('end', () => resolve(answer.statusCode!));
      });
      sent.once('error', reject).end(JSON.stringify({ email: `one@${tenant}.example`, password, tenant }));
    });

  test('of one tenant leaves the logins of another alone, and those of made-up tenants take one share', async () => {
    await system.query(
      `insert into identity.tenants (id, name, open_registration) values ('acme', '', true), ('bravo', '', true)`,
    );
    for (const tenant of ['acme', 'bravo']) {
      const account = { email: `one@${tenant}.example`, password, tenant };
      expect((await api.call('POST', '/api/v1/auth/register', account)).status).toBe(200);
    }
    const flood: Record<number, number> = {};
    let over = false;
    let made = 0;
    const client = async (index: number) => {
      const agent = new Agent({ keepAlive: true });
      while (!over) {
        const tenant = index < 200 ? 'acme' : `made-up-${made++}`;
        const status = await loginFrom(`127.7.${index}.1`, tenant, agent);
        flood[status] = (flood[status] ?? 0) + 1;
      }
      agent.destroy();
    };
    const clients = Array.from({ length: 250 }, (_, index) => client(index));
    const statuses: number[] = [];
    try {
      // It is one when it is refused for want of room.
      await vi.waitFor(() => expect(flood[503]).toBeGreaterThan(20), 30_000);
      for (let index = 0; index < 8; index++) {
        statuses.push((await login('bravo', index % 2 === 0 ? 'header' : 'message')).status);
      }
    } finally {
      over = true;
      await Promise.all(clients);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 200, 200]);
    // Let in, or refused in time: nobody waits until it is over. Made-up tenants are nobody's, and are held after many failures.
    expect(Object.keys(flood).filter((status) => !['200', '401', '429', '503'].includes(status))).toEqual([]);
  });
});
