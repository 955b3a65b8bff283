import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Field } from '../fields.js';
import { CompressionError } from '../hpack/compression-error.js';
import { Decoder } from '../hpack/decoder.js';
import { HeaderBlockReader } from './header-block.js';

const name = fc.constantFrom('a', 'b');
const literal = (first: number): fc.Arbitrary<Buffer> =>
  fc
    .tuple(name, name)
    .map(([n, v]) => Buffer.concat([Buffer.from([first, 1]), Buffer.from(n), Buffer.from([1]), Buffer.from(v)]));
const field = fc.oneof(
  literal(0x40),
  literal(0x00),
  // Of the static table, and the newest four of the dynamic one.
  fc.constantFrom(0x82, 0x84, 0xbe, 0xbf, 0xc0, 0xc1).map((octet) => Buffer.from([octet])),
);
const update = fc.constantFrom('', '20', '3f10', '3fe11f').map((hex) => Buffer.from(hex, 'hex'));
const block = fc
  .tuple(fc.oneof({ weight: 5, arbitrary: fc.constant(Buffer.alloc(0)) }, update), fc.array(field, { maxLength: 3 }))
  .map(([size, fields]) => Buffer.concat([size, ...fields]));

function outcome(read: () => readonly Field[]): readonly Field[] | 'error' {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(CompressionError);
    return 'error';
  }
}

it('means by a block that was seen before what the table now makes of it', () => {
  let repeated = 0;
  fc.assert(
    fc.property(
      fc.array(block, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(5), { maxLength: 60 }),
      (all, order) => {
        const blocks = order.map((at) => all[at % all.length]!);
        const reader = new HeaderBlockReader(10_000);
        const decoder = new Decoder();
        const seen = new Map<string, unknown>();
        for (const octets of blocks) {
          const plain = outcome(() => {
            const fields: Field[] = [];
            decoder.decode(octets, 0, octets.length, fields, 10_000);
            return fields;
          });
          const remembering = outcome(() => {
            const read = reader.read(octets, 0, octets.length);
            if (seen.get(octets.toString('hex')) === read) repeated++;
            seen.set(octets.toString('hex'), read);
            return [...read.pseudo, ...read.fields];
          });
          expect(remembering).toEqual(plain);
          if (plain === 'error') return;
        }
      },
    ),
    { numRuns: 2_000 },
  );
  // The test is of use only when blocks were remembered.
  expect(repeated).toBeGreaterThan(100);
});

it('remembers blocks of a table that has settled, and those that use none', () => {
  const reader = new HeaderBlockReader(10_000);
  const read = (hex: string): unknown => {
    const octets = Buffer.from(hex, 'hex');
    return reader.read(octets, 0, octets.length);
  };
  expect(read('84000161017a')).toBe(read('84000161017a'));
  read('400161017a');
  expect(read('84be')).toBe(read('84be'));
  const before = read('84be');
  read('400162017a');
  expect(read('84be')).not.toBe(before);
  expect(read('84be')).toMatchObject({ fields: [['b', 'z']] });
});
