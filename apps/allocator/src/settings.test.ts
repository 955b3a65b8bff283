import { readSettings } from '@sluice/config';
import { describe, expect, it } from 'vitest';
import { allocatorSettings } from './settings.js';

const read = (environment: Record<string, string>) => {
  const all = { DATABASE_URL: 'postgres://u:p@h/d', ...environment };
  return readSettings(allocatorSettings(all), all);
};

describe('the settings of the allocator', () => {
  it('reads nodes with and without a capacity', () => {
    expect(read({ NODES: 'a, b:500 ,c.d-e_f:9223372036854775807', NODE_BUDGET: '7' })).toMatchObject({
      NODES: [
        { nodeId: 'a', capacity: undefined },
        { nodeId: 'b', capacity: 500n },
        { nodeId: 'c.d-e_f', capacity: 9223372036854775807n },
      ],
      NODE_BUDGET: 7n,
    });
  });

  it('takes a number as that many nodes, and a list as a list', () => {
    const ids = (NODES: string) => read({ NODES }).NODES.map(({ nodeId }) => nodeId);
    expect(ids('5')).toEqual(['node-1', 'node-2', 'node-3', 'node-4', 'node-5']);
    expect(ids('5,6')).toEqual(['5', '6']);
    expect(ids('5:100')).toEqual(['5']);
  });

  it.each([
    ['postgresql+psycopg2://u:hunter2@h/d', '; drop +psycopg2, and the rest may stay'],
    ['jdbc:postgresql://u:hunter2@h/d', '; drop jdbc:, and the rest may stay'],
    ['sqlite:///hunter2.db', '; there is no SQLite here'],
  ])('says what to change in %s', (url, advice) => {
    const refused = () => read({ DATABASE_URL: url });
    expect(refused).toThrow(advice);
    expect(refused).not.toThrow('hunter2');
  });

  it.each(
    ['', '0', '1001', '1.5', 'a,,b', 'a:0', 'a:1.5', 'a:9223372036854775808', 'a:1:2', 'a,a', 'a b', '-a', 'a:'].filter(
      Boolean,
    ),
  )('refuses NODES=%s', (nodes) => {
    expect(() => read({ NODES: nodes })).toThrow(/^NODES=/);
  });

  it.each([
    ['NODE_BUDGET', '0'],
    ['NODE_BUDGET', '1e6'],
    ['LARGE_REQUEST_TOKENS', '-1'],
    ['ALLOC_STRATEGY', 'random'],
    ['ALLOC_BATCH_MAX', '0'],
  ])('refuses %s=%s', (key, value) => {
    expect(() => read({ [key]: value })).toThrow(key);
  });
});
