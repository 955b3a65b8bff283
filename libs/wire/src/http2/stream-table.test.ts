import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Stream } from './stream.js';
import { StreamTable } from './stream-table.js';

const stream = (id: number) => ({ id }) as Stream;

it('holds what a Map would hold, whatever comes and goes', () => {
  const operation = fc.record({ id: fc.nat(60).map((n) => 2 * n + 1), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const table = new StreamTable();
      const model = new Map<number, Stream>();
      for (const { id, add } of operations) {
        if (!add) {
          table.delete(id);
          model.delete(id);
        } else if (!model.has(id)) {
          const added = stream(id);
          table.add(added);
          model.set(id, added);
        }
        expect(table.size).toBe(model.size);
        expect(table.get(id)).toBe(model.get(id));
      }
      for (const [id, each] of model) expect(table.get(id)).toBe(each);
      expect(new Set(table.all())).toEqual(new Set(model.values()));
    }),
  );
});

it('keeps one long stream among a million short ones', () => {
  const table = new StreamTable();
  const long = stream(1);
  table.add(long);
  for (let id = 3; id < 2_000_000; id += 2) {
    table.add(stream(id));
    table.delete(id);
  }
  expect(table.get(1)).toBe(long);
  expect(table.all()).toEqual([long]);
});
