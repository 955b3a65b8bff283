import { expect, it } from 'vitest';
import { textOf } from './message-field.js';

const text = (field: number, value: string) => [(field << 3) | 2, value.length, ...Buffer.from(value)];
const read = (...octets: number[][]) => textOf(Uint8Array.from(octets.flat()), 4);

it.each<[string, number[][], string]>([
  ['alone', [text(4, 'acme')], 'acme'],
  ['not there', [text(1, 'acme')], ''],
  ['the last of several, as protobuf has it', [text(4, 'acme'), text(4, 'bravo')], 'bravo'],
  [
    'behind a varint, 32 and 64 bits',
    [[0x08, 0x96, 0x01], [0x15, 1, 2, 3, 4], [0x19, 1, 2, 3, 4, 5, 6, 7, 8], text(4, 'a')],
    'a',
  ],
  ['behind a negative number', [[0x08, ...Array.from({ length: 9 }, () => 0xff), 0x01], text(4, 'a')], 'a'],
  ['behind a group that has one of its own', [[0x0b], text(4, 'hidden'), [0x0c], text(4, 'acme')], 'acme'],
  ['a group alone', [[0x0b], text(4, 'hidden'), [0x0c]], ''],
  ['a number of that name', [[0x20, 7]], ''],
  ['longer than the message', [[0x22, 200, 65]], ''],
  ['a tag that does not end', [[0x80]], ''],
  ['a wire type that there is not', [text(4, 'a'), [0x0e], text(4, 'b')], 'a'],
  ['a tag of several octets', [[0x82, 0x01, 1, 65], text(4, 'a')], 'a'],
])('%s', (_, octets, expected) => {
  expect(read(...octets)).toBe(expected);
});
