import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gateway, schema } from '../../testdata/load.js';
import { compileBindings } from '../binding.js';
import type { Binding, RequestParts } from '../binding.js';
import { TranscodeError } from '../errors.js';

/** Runs are bounded for the test run; `FUZZ_FACTOR=100` lengthens them. */
const factor = Number(process.env['FUZZ_FACTOR'] ?? 1);

const names = [
  'name',
  'parent',
  'page_size',
  'pageSize',
  'filter',
  'filter.title',
  'filter.author.favourite',
  'filter.parent.parent.title',
  'colors',
  'since',
  'mask',
  'limit',
  'anything',
  'ascending',
  'descending',
  'ids',
  'book.title',
  'id',
  'nested.id',
  '__proto__',
  'constructor',
  'labels',
];
const word = fc.oneof(
  fc.constantFrom(
    '',
    '1',
    '-1',
    '1.5',
    'true',
    'null',
    'COLOR_RED',
    'a.b',
    '%',
    '%2F',
    '%ff',
    '%00',
    '+',
    '2026-01-01T00:00:00Z',
    '1s',
    '{}',
    '[]',
    '{"a":1}',
    'NaN',
    '%22',
    'é',
  ),
  fc.string({ maxLength: 8 }),
);
const query = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...names), word), word, fc.constantFrom('=', '', '==')), { maxLength: 5 })
  .map((list) => list.map(([name, value, equals]) => name + equals + value).join('&'));
const json = fc
  .array(
    fc.tuple(
      fc.constantFrom(...names),
      fc.oneof(
        word.map((text) => JSON.stringify(text)),
        fc.json({ maxDepth: 2 }),
      ),
    ),
    { maxLength: 4 },
  )
  .map((list) => `{${list.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`);
const body = fc.oneof(json, fc.json({ maxDepth: 3 }), word, query).map((text) => Buffer.from(text));
const contentType = fc.constantFrom(
  undefined,
  'application/json',
  'application/x-www-form-urlencoded',
  'application/x-ndjson',
  'text/plain',
);

function checkRequest(binding: Binding, parts: RequestParts): void {
  let message: Uint8Array;
  try {
    message = binding.encodeRequest(parts);
  } catch (error) {
    expect(error).toBeInstanceOf(TranscodeError);
    expect((error as TranscodeError).message.length).toBeLessThan(1000);
    expect((error as TranscodeError).status).toBeGreaterThanOrEqual(400);
    return;
  }
  // What was accepted is a message, and can be accepted again.
  fromBinary(binding.method.desc.input, message);
  expect(Buffer.from(binding.encodeRequest(parts)).equals(message)).toBe(true);
}

describe('whatever a client sends becomes a message or an error of ours', { timeout: 60_000 * factor }, () => {
  test.each(compileBindings(schema).map((binding) => [binding.httpMethod, binding.template.source, binding] as const))(
    '%s %s',
    (_, __, binding) => {
      const variables = fc.tuple(...binding.template.variables.map(() => word));
      fc.assert(
        fc.property(variables, query, contentType, fc.option(body, { nil: undefined }), (values, text, type, bytes) =>
          checkRequest(binding, { variables: values, query: text, contentType: type, body: bytes }),
        ),
        { numRuns: 200 * factor },
      );
    },
  );
});

test('a path that is found can be encoded', () => {
  const { table } = gateway();
  const path = fc.array(
    fc.constantFrom('/', 'v1', 'shelves', 'books', 'files', ':', 'move', 'watch', '%2F', '%', '1', 'é', '*'),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'TRACE'), path, (method, parts) => {
      const match = table.match(method, `/${parts.join('')}`);
      if (match.kind !== 'found') return;
      checkRequest(match.binding, { variables: match.variables, query: '', contentType: undefined, body: undefined });
    }),
    { numRuns: 2000 * factor },
  );
});
