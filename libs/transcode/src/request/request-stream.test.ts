import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TranscodeError } from '../errors.js';
import { gateway } from '../../testdata/load.js';
import { valueStream } from './request-stream.js';

const { find } = gateway();

/** The values of a body that arrives in pieces cut at the given places. */
function valuesOf(body: Buffer, cuts: readonly number[], arrays = true): string[] {
  const values: string[] = [];
  const stream = valueStream(
    (value) => (values.push(Buffer.from(value).toString()), value),
    undefined,
    1 << 20,
    arrays,
  );
  let start = 0;
  for (const cut of [...cuts, body.length]) {
    // The memory of a chunk is used again.
    const chunk = Buffer.from(body.subarray(start, cut));
    stream.push(chunk);
    chunk.fill(0xff);
    start = cut;
  }
  stream.end();
  return values;
}

const items = [
  '{"title":"a,]}\\"[{é😀","b":[1,{"c":"\\\\"}]}',
  '{}',
  '[]',
  '-1.5e3',
  '"x]\\""',
  'true',
  'null',
  '{"a":[[{}]]}',
];

describe('values of a client stream', () => {
  test.each([
    ['an array', `[${items.join(',')}]`],
    ['an array over lines', ` [\n${items.join('\n ,\r\n')}\n]\n\n`],
    ['lines', items.join('\n')],
    ['lines that end', `\n\n${items.join('\r\n\r\n')}\n`],
    ['one after another', items.join(' ')],
    ['printed over lines', items.map((item) => JSON.stringify(JSON.parse(item), undefined, 2)).join('\n')],
  ])('%s, cut at every octet', (name, text) => {
    const body = Buffer.from(text);
    const arrays = name.startsWith('an array') || name.startsWith('printed');
    const expected = items.map((item) => JSON.parse(item) as unknown);
    for (let cut = 0; cut <= body.length; cut++) {
      expect(valuesOf(body, [cut], arrays).map((value) => JSON.parse(value) as unknown)).toEqual(expected);
    }
    const everywhere = Array.from({ length: body.length }, (_, at) => at);
    expect(valuesOf(body, everywhere, arrays).map((value) => JSON.parse(value) as unknown)).toEqual(expected);
  });

  test('any values, in any form, in any pieces', () => {
    const value = fc.object().map((one) => one as unknown);
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 6 }),
        fc.nat({ max: 2 }),
        fc.nat({ max: 4 }),
        fc.array(fc.nat({ max: 400 })),
        (all, form, indent, at) => {
          const texts = all.map((one) => JSON.stringify(one, undefined, indent));
          const body = Buffer.from(form === 0 ? `[${texts.join(',')}]` : texts.join(form === 1 ? '\n' : ''));
          const cuts = at.filter((cut) => cut < body.length).sort((a, b) => a - b);
          expect(valuesOf(body, cuts).map((one) => JSON.parse(one) as unknown)).toEqual(
            all.map((one) => JSON.parse(JSON.stringify(one)) as unknown),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test.each(['', ' \n\t\r', '[]', ' [ \n ] '])('none in %j', (text) => {
    expect(valuesOf(Buffer.from(text), [])).toEqual([]);
  });
});

const upload = 'POST /v1/shelves/1/books:upload';

function open(request: string, contentType?: string, max = 1000) {
  const { binding, variables, query } = find(request);
  return binding.openRequestStream({ variables, query, contentType }, max);
}

function refusal(request: string, body: string): TranscodeError {
  const stream = open(request);
  try {
    stream.push(Buffer.from(body));
    stream.end();
  } catch (error) {
    if (error instanceof TranscodeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('faults', () => {
  test.each([
    ['[{"title":"a"},]', 'INVALID_VALUE', 1],
    ['[{"title":"a"} {"title":"b"}]', 'INVALID_JSON', 1],
    ['[{"title":"a"}', 'INVALID_JSON', 1],
    ['[', 'INVALID_JSON', 1],
    ['[{"title":"a"}]x', 'INVALID_JSON', 1],
    ['[{"title":"a"}][]', 'INVALID_JSON', 1],
    ['[,{}]', 'INVALID_JSON', 1],
    ['{"title":"a"},{"title":"b"}', 'INVALID_JSON', 1],
    ['{"title":"a"}\n\n]', 'INVALID_JSON', 3],
    ['{"title":\n"a"}\n{"title"', 'INVALID_JSON', 3],
    ['[\n{"title":"a"},\n{"title":1}]', 'INVALID_VALUE', 3],
    ['{"title":"a"}\n{"title":"b}\n', 'INVALID_JSON', 2],
    ['hello', 'INVALID_JSON', 1],
    ['[[{}]]', 'INVALID_VALUE', 1],
  ])('%j', (body, code, line) => {
    const error = refusal(upload, body);
    expect([error.code, error.position?.line]).toEqual([
      code === 'INVALID_VALUE' && body.endsWith(',]') ? 'INVALID_JSON' : code,
      line,
    ]);
  });

  test('tell the character, also behind another value on the line', () => {
    const first = '{"title":"é😀"}';
    const error = refusal(upload, `\n${first} {"title":1}`);
    expect(error.position).toEqual({ offset: 1 + Buffer.byteLength(first) + 10, line: 2, column: first.length + 11 });
  });

  test('a bound for each value, whatever the form', () => {
    for (const body of ['[{"title":"aaaaaaaaaa"}]', '{"title":"aaaaaaaaaa"}', '{"title"\n:\n"aaaaaaaaaa"}']) {
      const stream = open(upload, 'application/json', 20);
      expect(() => stream.push(Buffer.from(body))).toThrow(
        expect.objectContaining({ code: 'ITEM_TOO_LARGE' }) as Error,
      );
    }
    const stream = open(upload, 'application/json', 20);
    expect(stream.push(Buffer.from(`[${'{"title":"aaaaa"},'.repeat(10)}`))).toHaveLength(10);
  });
});

describe('no value at all', () => {
  test.each(['', '\n', '[]'])('%j sends what path and query set, once', (body) => {
    const stream = open(`${upload}?request_id=r`);
    expect(stream.push(Buffer.from(body))).toEqual([]);
    expect(stream.end().map((message) => Buffer.from(message).toString('latin1'))).toEqual(['\n\tshelves/1\x1a\x01r']);
    expect(open('POST /v1/talk').end()).toEqual([]);
  });

  test('a value is not followed by it', () => {
    const stream = open(upload);
    expect(stream.push(Buffer.from('{}'))).toHaveLength(1);
    expect(stream.end()).toEqual([]);
  });
});

test('where a value can be an array, a bracket begins one', () => {
  const values = valuesOf(Buffer.from('["a"]\n["b","c"]'), [], false);
  expect(values).toEqual(['["a"]', '["b","c"]']);
});
