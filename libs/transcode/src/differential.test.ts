import { readFileSync } from 'node:fs';
import { fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { messageCodec } from './codec.js';
import type { MessageCodec } from './codec.js';
import { TranscodeError } from './errors.js';
import { jsonOf, textOf } from '../testdata/json-arbitrary.js';
import { loadSchema } from './schema.js';

const schema = loadSchema(readFileSync(new URL('../testdata/everything.binpb', import.meta.url)), 'everything.binpb');
const { registry } = schema;

const types = [
  'Scalars',
  'Optionals',
  'Lists',
  'Maps',
  'Choice',
  'Tree',
  'WellKnown',
  'Names',
  'Wide',
  'Everything',
  'Legacy',
  'Modern',
  'Book',
].map((name) => `transcode.test.v1.${name}`);

/** Runs are bounded for the test run; `FUZZ_FACTOR=100` lengthens them. */
const factor = Number(process.env['FUZZ_FACTOR'] ?? 1);
const runs = { numRuns: 300 * factor };

/** A JSON value with equal floats made equal: the reference prints them with the digits of a double. */
function normalized(text: string): unknown {
  return JSON.parse(text, (_, value: unknown) => (typeof value === 'number' ? Math.fround(value) : value));
}

describe.each(types)('%s', { timeout: 60_000 * factor }, (typeName) => {
  const desc: DescMessage = registry.getMessage(typeName)!;
  const codec: MessageCodec = messageCodec(schema, typeName)!;
  const sparse: MessageCodec = messageCodec(schema, typeName, { printDefaults: false })!;
  const raw: MessageCodec = messageCodec(schema, typeName, { enumNumbers: true, protoNames: true })!;

  test('reads JSON as the reference does', () => {
    fc.assert(
      fc.property(jsonOf(desc, registry), (json) => {
        const expected = toBinary(desc, fromJsonString(desc, textOf(json, true), { registry }));
        const actual = toBinary(desc, fromBinary(desc, codec.fromJson(Buffer.from(textOf(json)))));
        expect(Buffer.from(actual).toString('hex')).toBe(Buffer.from(expected).toString('hex'));
      }),
      runs,
    );
  });

  test('writes the canonical bytes when JSON has the order of the field numbers', () => {
    fc.assert(
      fc.property(jsonOf(desc, registry), (json) => {
        const message = fromJsonString(desc, textOf(json, true), { registry });
        const text = toJsonString(desc, message, { registry });
        const canonical = toBinary(desc, fromJsonString(desc, text, { registry }));
        const written = codec.fromJson(Buffer.from(text));
        expect(written.length).toBe(canonical.length);
      }),
      runs,
    );
  });

  test('prints messages as the reference does', () => {
    fc.assert(
      fc.property(jsonOf(desc, registry), (json) => {
        const message = fromJsonString(desc, textOf(json, true), { registry });
        const bytes = toBinary(desc, message);
        const full = toJsonString(desc, message, { registry, alwaysEmitImplicit: true });
        expect(normalized(codec.toJson(bytes).toString())).toEqual(normalized(full));
        expect(normalized(sparse.toJson(bytes).toString())).toEqual(
          normalized(toJsonString(desc, message, { registry })),
        );
        const options = { registry, alwaysEmitImplicit: true, enumAsInteger: true, useProtoFieldName: true };
        expect(normalized(raw.toJson(bytes).toString())).toEqual(normalized(toJsonString(desc, message, options)));
      }),
      runs,
    );
  });

  test('reads what it printed', () => {
    fc.assert(
      fc.property(jsonOf(desc, registry), (json) => {
        const bytes = codec.fromJson(Buffer.from(textOf(json)));
        const printed = sparse.toJson(bytes);
        expect(sparse.toJson(codec.fromJson(printed)).toString()).toBe(printed.toString());
      }),
      runs,
    );
  });

  test('refuses cut and changed text with a position, and never accepts what the reference refuses', () => {
    const change = fc.record({ at: fc.nat(), count: fc.nat({ max: 3 }), text: fc.constantFrom('', ...fragments) });
    fc.assert(
      fc.property(jsonOf(desc, registry), change, (json, { at, count, text: inserted }) => {
        const text = Buffer.from(textOf(json, true));
        const start = at % (text.length + 1);
        const changed = Buffer.concat([text.subarray(0, start), Buffer.from(inserted), text.subarray(start + count)]);
        const mine = attempt(() => codec.fromJson(changed));
        if (mine instanceof Uint8Array) {
          // The mapping accepts 1e3 and 1.0 in quotes, too; the reference does not for integers of 64 bits.
          if (/"-?\d+[.e][\d.e]*"/.test(changed.toString())) return;
          const reference = attempt(() => fromJsonString(desc, changed.toString(), { registry }));
          expect(reference, changed.toString()).not.toBeInstanceOf(Error);
        } else {
          expect(mine).toBeInstanceOf(TranscodeError);
          expect((mine as TranscodeError).position, String(mine)).toBeDefined();
          expect((mine as TranscodeError).message.length).toBeLessThan(1000);
        }
      }),
      { numRuns: 1000 * factor },
    );
  });

  test('prints JSON or refuses, whatever the bytes', () => {
    const change = fc.record({ at: fc.nat(), count: fc.nat({ max: 3 }), bytes: fc.uint8Array({ maxLength: 4 }) });
    fc.assert(
      fc.property(jsonOf(desc, registry), fc.array(change, { minLength: 1, maxLength: 4 }), (json, changes) => {
        let bytes = Buffer.from(codec.fromJson(Buffer.from(textOf(json))));
        for (const { at, count, bytes: inserted } of changes) {
          const start = at % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, start), inserted, bytes.subarray(start + count)]);
        }
        const printed = attempt(() => codec.toJson(bytes));
        if (printed instanceof Uint8Array) JSON.parse(printed.toString());
        else expect((printed as TranscodeError).code, printed.stack ?? '').toBe('INVALID_MESSAGE');
      }),
      { numRuns: 1000 * factor },
    );
  });
});

const fragments = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '0',
  '1',
  '-',
  '.',
  'e9',
  'null',
  'true',
  '""',
  '{}',
  '[]',
  '\u0000',
  ' ',
  '1.5',
  '"1"',
  '99999999999',
  '\\ud800',
  'é',
];

function attempt<T>(run: () => T): T | Error {
  try {
    return run();
  } catch (error) {
    return error as Error;
  }
}
