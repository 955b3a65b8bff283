import { startSystem, type TestSystem } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { client, type Client } from './client.js';

let system: TestSystem;
let api: Client;

beforeAll(async () => {
  system = await startSystem({
    env: { NODES: 'a,b,c', NODE_BUDGET: '40', RATE_LIMIT_ENABLED: 'false', PASSWORD_MEMORY_KIB: '64' },
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
