import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { describe, expect, it, vi } from 'vitest';
import { NodeSeed } from './nodes/node-seed.js';
import { admin, type AllocationMessage, failure } from './replicas.fixture.js';
import { twoReplicas } from './two-replicas.fixture.js';

describe('nodes, two replicas', () => {
  const budget = twoReplicas();
  const { nodes, allocate, free, usedOf } = budget;

  it('chooses the stated node', async () => {
    await nodes({ 'g-1': 100, 'g-10': 100, 'g-2': 250, 'g-3': 400 });
    expect(await allocate('tie', 40)).toMatchObject({ node_id: 'g-1', strategy: 'best' });
    expect(await allocate('least', 60)).toMatchObject({ node_id: 'g-1' });
    expect(await allocate('next', 60)).toMatchObject({ node_id: 'g-10' });
    expect(await allocate('at-threshold', 300)).toMatchObject({ node_id: 'g-3', strategy: 'best' });
    await free('at-threshold');
    expect(await allocate('over', 301)).toMatchObject({ node_id: 'g-3', strategy: 'largest' });
    await budget.system.client(1).call('setStrategy', { strategy: 'largest' }, admin);
    expect(await allocate('largest', 1, 0)).toMatchObject({ node_id: 'g-2', strategy: 'largest' });
    expect(await allocate('largest-again', 1, 1)).toMatchObject({ node_id: 'g-2', strategy: 'largest' });
  });

  it('passes over a locked node while another suffices, and waits when none does', async () => {
    await nodes({ 'h-1': 50, 'h-2': 100 });
    await budget.holding('h-1', async () => {
      expect(await allocate('beside', 20)).toMatchObject({ node_id: 'h-2' });
      expect(await allocate('beside-too', 20, 1)).toMatchObject({ node_id: 'h-2' });
    });
    const waiting = await budget.holding(['h-1', 'h-2'], async () => {
      const pending = allocate('waits', 45);
      const both = allocate('waits-too', 45, 1);
      await vi.waitFor(async () => expect((await budget.waitingBatches()).length).toBeGreaterThan(1));
      return { pending, both };
    });
    expect([(await waiting.pending).node_id, (await waiting.both).node_id].toSorted()).toEqual(['h-1', 'h-2']);
  });

  it('waits for the one locked node that suffices', async () => {
    await nodes({ 'i-1': 10, 'i-2': 100 });
    const { large } = await budget.holding('i-2', async () => {
      const pending = allocate('large', 80);
      await vi.waitFor(async () => expect(await budget.waitingBatches()).toHaveLength(1));
      return { large: pending };
    });
    expect(await large).toMatchObject({ node_id: 'i-2' });
    expect(await allocate('small', 5)).toMatchObject({ node_id: 'i-1' });
  });

  it('drains, shrinks and grows', async () => {
    await nodes({ 'j-1': 100, 'j-2': 100 });
    await allocate('on-1', 80);
    await budget.system.client().call('drainNode', { node_id: 'j-1' }, admin);
    expect(await allocate('elsewhere', 20, 1)).toMatchObject({ node_id: 'j-2' });
    expect((await failure(allocate('none', 90, 1))).details).toMatchObject({ largest_remaining: '80' });
    expect(
      await budget.system.client().call('settle', { request_id: `${budget.prefix}on-1`, token_count: 60 }),
    ).toMatchObject({
      settled: '60',
    });
    expect(await budget.system.client(1).call('undrainNode', { node_id: 'j-1' }, admin)).toMatchObject({
      state: 'ACTIVE',
      remaining: '40',
    });
    const shrunk = await budget.system.client().call('resizeNode', { node_id: 'j-1', capacity: 10 }, admin);
    expect(shrunk).toMatchObject({ capacity: '10', used: '60', remaining: '0' });
    expect(await allocate('after', 50)).toMatchObject({ node_id: 'j-2' });
    await free('on-1');
    expect(await usedOf('j-1')).toBe('0');
    expect(await allocate('fits', 10)).toMatchObject({ node_id: 'j-1' });
  });

  it('removes a node that is empty, and answers for what was on it', async () => {
    await nodes({ 'l-1': 100, 'l-2': 200 });
    const call = <T>(method: string, request: object, client = 0) =>
      budget.system.client(client).call<T>(method, request, admin);
    await allocate('on-1', 100);
    await allocate('freed', 50);
    await free('freed');
    expect(await failure(call('removeNode', { node_id: 'l-1' }))).toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { used: '100' },
    });
    await call('drainNode', { node_id: 'l-1' });
    await call('removeNode', { node_id: 'l-2' }, 1);
    expect((await failure(allocate('none-left', 1))).code).toBe('BUDGET_EXHAUSTED');
    await free('on-1', 1);
    expect(await call('removeNode', { node_id: 'l-1' })).toMatchObject({ node_id: 'l-1', used: '0' });
    expect((await failure(call('removeNode', { node_id: 'l-1' }, 1))).code).toBe('NOT_FOUND');
    for (const client of [0, 1]) {
      expect(await free('freed', client)).toMatchObject({ state: 'FREED', node_id: 'l-2' });
      expect((await failure(allocate('freed', 50, client))).code).toBe('ALLOCATION_ENDED');
    }
    // One of that name can be added again.
    await nodes({ 'l-2': 10 });
    expect(await allocate('anew', 10)).toMatchObject({ node_id: 'l-2' });
    await free('anew');
  });

  it('renames a node under load, and nothing is lost or counted twice', async () => {
    await nodes({ 'm-0': 100_000 });
    let name = 0;
    const renaming = (async () => {
      for (; name < 12; name++) {
        const names = { node_id: `m-${name}`, new_node_id: `m-${name + 1}` };
        expect(await budget.system.client(name).call('renameNode', names, admin)).toMatchObject({
          node_id: `m-${name + 1}`,
        });
      }
    })();
    const kept: string[] = [];
    for (let wave = 0; name < 12 || wave < 3; wave++) {
      const ids = Array.from({ length: 20 }, (_, index) => `w${wave}-${index}`);
      const made = await Promise.all(ids.map((id, index) => allocate(id, 3, index)));
      expect(made.every(({ node_id }) => node_id.startsWith('m-'))).toBe(true);
      await Promise.all(ids.slice(5).map((id, index) => free(id, index)));
      kept.push(...ids.slice(0, 5));
    }
    await renaming;
    expect(await usedOf('m-12')).toBe(String(3 * kept.length));
    const taken = { node_id: 'm-12', new_node_id: 'n1' };
    expect((await failure(budget.system.client().call('renameNode', taken, admin))).code).toBe('ALREADY_EXISTS');
    await Promise.all(kept.map((id, index) => free(id, index)));
    expect(await usedOf('m-12')).toBe('0');
  });

  it('drains what NODES no longer names, says so, and knows a renamed node by either name', async () => {
    await nodes({ 'p-0': 10 });
    const seed = (text: string) => {
      const lines: string[] = [];
      const note = (fields: object, message: string) => lines.push(`${(fields as { node: string }).node}: ${message}`);
      const configured = text.split(',').map((nodeId) => ({ nodeId, capacity: 500n }));
      const logger = { info: note, warn: note } as unknown as Logger;
      return database.then((source) => new NodeSeed(source, logger).seed(configured, 1n)).then(() => lines);
    };
    const shown = async () =>
      budget.system.sql(`select node_id, state::int, capacity::int from nodes where node_id ~ '^q' order by 1`);
    const database = new DataSource({
      type: 'postgres',
      url: budget.system.postgres.url,
      extra: { options: '-c search_path=budget' },
    }).initialize();
    try {
      expect(await seed('n1,n2,n3,n4,q1,q2')).toEqual([
        'q1: a node of NODES was added',
        'q2: a node of NODES was added',
      ]);
      expect(await seed('n1,n2,n3,n4,q2')).toEqual([
        expect.stringContaining('q1: NODES no longer names a node: it drains'),
      ]);
      expect(await shown()).toMatchObject([
        { node_id: 'q1', state: 2 },
        { node_id: 'q2', state: 1 },
      ]);
      // Once is enough: an operator may open it again.
      await budget.system.client().call('undrainNode', { node_id: 'q1' }, admin);
      expect(await seed('n1,n2,n3,n4,q2')).toEqual([]);
      expect(await shown()).toMatchObject([{ state: 1 }, { state: 1 }]);
      await budget.system.client().call('drainNode', { node_id: 'q1' }, admin);
      await budget.system.client().call('renameNode', { node_id: 'q2', new_node_id: 'q3' }, admin);
      expect(await seed('n1,n2,n3,n4,q2')).toEqual([]);
      expect(await seed('n1,n2,n3,n4,q3')).toEqual([]);
      expect(await seed('n1,n2,n3,n4')).toHaveLength(1);
      expect(await seed('n1,n2,n3,n4,q3')).toEqual(['q3: NODES names a node again: it is open to allocations']);
      expect(await shown()).toEqual([
        { node_id: 'q1', state: 2, capacity: 500 },
        { node_id: 'q3', state: 1, capacity: 500 },
      ]);
      await seed('n1,n2,n3,n4');
    } finally {
      await (await database).destroy();
    }
  });

  it('follows one strategy in every answer while it is flipped under load', async () => {
    await nodes({ 'k-1': 1_000_000, 'k-2': 2_000_000, 'k-3': 3_000_000 });
    const flipping = new AbortController();
    const flips = (async () => {
      for (let flip = 0; !flipping.signal.aborted; flip++) {
        await budget.system.client(flip).call('setStrategy', { strategy: flip % 2 === 0 ? 'largest' : 'best' }, admin);
      }
    })();
    const answers: AllocationMessage[] = [];
    for (let wave = 0; wave < 10; wave++) {
      answers.push(
        ...(await Promise.all(Array.from({ length: 60 }, (_, index) => allocate(`w${wave}-${index}`, 1, index)))),
      );
    }
    flipping.abort();
    await flips;
    const chosen = new Set(answers.map(({ strategy, node_id }) => `${strategy} ${node_id}`));
    expect([...chosen].toSorted()).toEqual(['best k-1', 'largest k-3']);
  });

  it('shows usage as it changes', async () => {
    await nodes({ 'o-1': 100 });
    const stream = budget.system.client(1).stream('watchUsage', {});
    const seen: string[] = [];
    stream.on('data', (usage: { nodes: { node_id: string; used: string }[] }) => {
      seen.push(usage.nodes.find(({ node_id }) => node_id === 'o-1')?.used ?? '');
    });
    stream.on('error', () => undefined);
    await vi.waitFor(() => expect(seen).toEqual(['0']));
    await allocate('seen', 12);
    await vi.waitFor(() => expect(seen).toEqual(['0', '12']), { timeout: 5000 });
    stream.cancel();
  });
});
