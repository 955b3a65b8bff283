import { describe, expect, test } from 'vitest';
import { schema } from '../testdata/load.js';
import { messageCodec } from './codec.js';
import type { MessageCodec } from './codec.js';
import { TranscodeError } from './errors.js';

function codecOf(name: string): MessageCodec {
  return messageCodec(schema, `transcode.test.v1.${name}`, { printDefaults: false })!;
}

function refusal(type: string, text: string | Uint8Array): TranscodeError {
  try {
    codecOf(type).fromJson(Buffer.from(text as string));
  } catch (error) {
    if (error instanceof TranscodeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

function through(type: string, text: string): string {
  const codec = codecOf(type);
  return codec.toJson(codec.fromJson(Buffer.from(text))).toString();
}

describe('what must be refused, with its place', () => {
  test.each([
    ['Scalars', '', 'INVALID_JSON', undefined, 1, 1],
    ['Scalars', '   ', 'INVALID_JSON', undefined, 1, 4],
    ['Scalars', '{', 'INVALID_JSON', undefined, 1, 2],
    ['Scalars', '{}{}', 'INVALID_JSON', undefined, 1, 3],
    ['Scalars', '[]', 'INVALID_VALUE', undefined, 1, 1],
    ['Scalars', 'null', 'INVALID_VALUE', undefined, 1, 1],
    ['Scalars', '\ufeff{}', 'INVALID_JSON', undefined, 1, 1],
    ['Scalars', "{'a':1}", 'INVALID_JSON', undefined, 1, 2],
    ['Scalars', '{"int32Field":1,}', 'INVALID_JSON', 'int32Field', 1, 17],
    ['Scalars', '{\n "int32Field": 1,\n "unknown": 2\n}', 'UNKNOWN_FIELD', 'unknown', 3, 2],
    ['Scalars', '{"__proto__": {"a": 1}}', 'UNKNOWN_FIELD', '__proto__', 1, 2],
    ['Scalars', '{"int32Field":1,"int32Field":1}', 'DUPLICATE_FIELD', 'int32Field', 1, 17],
    ['Scalars', '{"int32Field":1,"int32_field":1}', 'DUPLICATE_FIELD', 'int32_field', 1, 17],
    ['Scalars', '{"int32Field":1,"int32\\u0046ield":1}', 'DUPLICATE_FIELD', 'int32Field', 1, 17],
    ['Scalars', '{"int32Field":null,"int32Field":1}', 'DUPLICATE_FIELD', 'int32Field', 1, 20],
    ['Wide', '{"f35":1,"f35":1}', 'DUPLICATE_FIELD', 'f35', 1, 10],
    ['Choice', '{"text":"a","number":1}', 'DUPLICATE_FIELD', 'number', 1, 13],
    ['Maps', '{"stringString":{"a":"1","\\u0061":"2"}}', 'DUPLICATE_FIELD', 'stringString.a', 1, 26],
    ['Maps', '{"boolString":{"true":"1","true":"2"}}', 'DUPLICATE_FIELD', 'boolString.true', 1, 27],
    ['Maps', '{"boolString":{"True":"1"}}', 'INVALID_VALUE', 'boolString.True', 1, 16],
    ['Maps', '{"int32Int64":{"01":"1"}}', 'INVALID_VALUE', 'int32Int64.01', 1, 16],
    ['Maps', '{"int32Int64":{"1":"1.5"}}', 'INVALID_VALUE', 'int32Int64.1', 1, 20],
    ['Maps', '{"stringString":{"a":null}}', 'INVALID_VALUE', 'stringString.a', 1, 22],
    ['Lists', '{"int32Field":[1,null]}', 'INVALID_VALUE', 'int32Field[1]', 1, 18],
    ['Lists', '{"scalarsField":[{},{"int32Field":"x"}]}', 'INVALID_VALUE', 'scalarsField[1].int32Field', 1, 35],
    ['Scalars', '{"int32Field":1.5}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":1e-1}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":2147483648}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"uint32Field":-1}', 'INVALID_VALUE', 'uint32Field', 1, 16],
    ['Scalars', '{"int64Field":9223372036854775808}', 'INVALID_VALUE', 'int64Field', 1, 15],
    ['Scalars', '{"uint64Field":"18446744073709551616"}', 'INVALID_VALUE', 'uint64Field', 1, 16],
    ['Scalars', '{"int64Field":9007199254740993.5}', 'INVALID_VALUE', 'int64Field', 1, 15],
    ['Scalars', '{"int64Field":1e999999999999}', 'INVALID_VALUE', 'int64Field', 1, 15],
    ['Scalars', '{"int64Field":1e-999999999999}', 'INVALID_VALUE', 'int64Field', 1, 15],
    ['Scalars', `{"int64Field":${'9'.repeat(400)}}`, 'INVALID_VALUE', 'int64Field', 1, 15],
    ['Scalars', `{"doubleField":${'9'.repeat(400)}}`, 'INVALID_VALUE', 'doubleField', 1, 16],
    ['Scalars', '{"doubleField":1e400}', 'INVALID_VALUE', 'doubleField', 1, 16],
    ['Scalars', '{"floatField":3.5e38}', 'INVALID_VALUE', 'floatField', 1, 15],
    ['Scalars', '{"doubleField":NaN}', 'INVALID_JSON', 'doubleField', 1, 16],
    ['Scalars', '{"doubleField":"nan"}', 'INVALID_VALUE', 'doubleField', 1, 16],
    ['Scalars', '{"doubleField":""}', 'INVALID_VALUE', 'doubleField', 1, 16],
    ['Scalars', '{"int32Field":" 1"}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":"0x1"}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":01}', 'INVALID_JSON', 'int32Field', 1, 16],
    ['Scalars', '{"int32Field":+1}', 'INVALID_JSON', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":1.}', 'INVALID_JSON', 'int32Field', 1, 15],
    ['Scalars', '{"int32Field":true}', 'INVALID_VALUE', 'int32Field', 1, 15],
    ['Scalars', '{"boolField":"true"}', 'INVALID_VALUE', 'boolField', 1, 14],
    ['Scalars', '{"boolField":tru}', 'INVALID_JSON', 'boolField', 1, 14],
    ['Scalars', '{"stringField":1}', 'INVALID_VALUE', 'stringField', 1, 16],
    ['Scalars', '{"stringField":"a\nb"}', 'INVALID_JSON', 'stringField', 1, 18],
    ['Scalars', '{"stringField":"\\x"}', 'INVALID_JSON', 'stringField', 1, 17],
    ['Scalars', '{"stringField":"\\ud800"}', 'INVALID_JSON', 'stringField', 1, 17],
    ['Scalars', '{"stringField":"\\ud800\\ud800"}', 'INVALID_JSON', 'stringField', 1, 17],
    ['Scalars', '{"stringField":"\\udc00"}', 'INVALID_JSON', 'stringField', 1, 17],
    ['Scalars', '{"stringField":"é\\u00g0"}', 'INVALID_JSON', 'stringField', 1, 18],
    ['Scalars', '{"stringField":"abc', 'INVALID_JSON', 'stringField', 1, 20],
    ['Scalars', '{"bytesField":"a"}', 'INVALID_VALUE', 'bytesField', 1, 15],
    ['Scalars', '{"bytesField":"YQ="}', 'INVALID_VALUE', 'bytesField', 1, 15],
    ['Scalars', '{"bytesField":"Y*=="}', 'INVALID_VALUE', 'bytesField', 1, 15],
    ['Scalars', '{"bytesField":"YQ==YQ=="}', 'INVALID_VALUE', 'bytesField', 1, 15],
    ['Scalars', '{"colorField":"PINK"}', 'INVALID_VALUE', 'colorField', 1, 15],
    ['Scalars', '{"colorField":1.5}', 'INVALID_VALUE', 'colorField', 1, 15],
    ['Scalars', '{"colorField":{}}', 'INVALID_VALUE', 'colorField', 1, 15],
    ['Legacy', '{"size":3}', 'INVALID_VALUE', 'size', 1, 9],
    ['WellKnown', '{"timestamp":"2026-02-29T00:00:00Z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"2026-01-01T24:00:00Z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"2026-01-01t00:00:00z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"2026-01-01T00:00:00"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"2026-01-01T00:00:00.Z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"2026-01-01T00:00:00.1234567890Z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"0000-12-31T23:59:59Z"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"timestamp":"9999-12-31T23:59:59-00:01"}', 'INVALID_VALUE', 'timestamp', 1, 14],
    ['WellKnown', '{"duration":"1"}', 'INVALID_VALUE', 'duration', 1, 13],
    ['WellKnown', '{"duration":"315576000001s"}', 'INVALID_VALUE', 'duration', 1, 13],
    ['WellKnown', '{"duration":"1.1234567890s"}', 'INVALID_VALUE', 'duration', 1, 13],
    ['WellKnown', '{"mask":"a_b"}', 'INVALID_VALUE', 'mask', 1, 9],
    ['WellKnown', '{"value":1e999}', 'INVALID_VALUE', 'value', 1, 10],
    ['WellKnown', '{"struct":{"a":1,"a":2}}', 'DUPLICATE_FIELD', 'struct.a', 1, 18],
    ['WellKnown', '{"any":{"a":1}}', 'INVALID_VALUE', 'any', 1, 8],
    ['WellKnown', '{"any":{"@type":"no.such/Type"}}', 'INVALID_VALUE', 'any', 1, 8],
    ['WellKnown', '{"any":{"@type":"transcode.test.v1.Tree"}}', 'INVALID_VALUE', 'any', 1, 8],
    [
      'WellKnown',
      '{"any":{"@type":"x/transcode.test.v1.Tree","@type":"x/transcode.test.v1.Tree"}}',
      'DUPLICATE_FIELD',
      'any.@type',
      1,
      44,
    ],
    [
      'WellKnown',
      '{"any":{"@type":"x/google.protobuf.Duration","value":"1s","more":1}}',
      'UNKNOWN_FIELD',
      'any.more',
      1,
      59,
    ],
    ['WellKnown', '{"any":{"@type":"x/google.protobuf.Duration"}}', 'INVALID_VALUE', 'any', 1, 46],
  ])('%s %s', (type, text, code, field, line, column) => {
    const error = refusal(type, text);
    expect(error).toMatchObject({ code, status: 400, position: { line, column } });
    expect(error.field).toBe(field);
  });

  test('bytes that are not UTF-8, at the first bad one', () => {
    for (const bad of [[0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80]]) {
      const text = Buffer.concat([Buffer.from('{"stringField":"é'), Buffer.from(bad), Buffer.from('"}')]);
      expect(refusal('Scalars', text)).toMatchObject({
        code: 'INVALID_JSON',
        position: { offset: 18, line: 1, column: 18 },
      });
    }
  });

  test.each(['Tree', 'WellKnown', 'Everything'])('10 000 levels of %s', (type) => {
    const open = { Tree: '{"left":', WellKnown: '{"value":[', Everything: '{"more":[' }[type]!;
    for (const text of [open.repeat(10_000), '['.repeat(10_000), `{"struct":${'{"a":'.repeat(10_000)}`]) {
      expect(refusal(type, text).code).toMatch(/INVALID_JSON|INVALID_VALUE|UNKNOWN_FIELD/);
    }
    const nested = `{"value":${'['.repeat(10_000)}${']'.repeat(10_000)}}`;
    expect(refusal('WellKnown', nested).message).toContain('nested deeper than 100 levels');
  });

  test('Any in Any whose type comes last does not cost a multiple of the text', () => {
    let text = `{"x":"${'y'.repeat(100_000)}","@type":"x/google.protobuf.Any"}`;
    for (let i = 0; i < 50; i++) text = `{"value":${text},"@type":"x/google.protobuf.Any"}`;
    expect(refusal('WellKnown', `{"any":${text}}`).message).toMatch(/first member|no field|has only/);
  });

  test('messages stay short whatever the names and values', () => {
    const long = 'x'.repeat(1_000_000);
    for (const text of [`{"${long}":1}`, `{"colorField":"${long}"}`, `{"int32Field":"${long}"}`, `{"${long}`]) {
      expect(refusal('Scalars', text).message.length).toBeLessThan(500);
    }
  });
});

describe('what must be accepted', () => {
  test.each([
    ['Scalars', '{"int32Field":1e3}', '{"int32Field":1000}'],
    ['Scalars', '{"int32Field":1.0}', '{"int32Field":1}'],
    ['Scalars', '{"int32Field":"-2147483648"}', '{"int32Field":-2147483648}'],
    ['Scalars', '{"int32Field":120e-1}', '{"int32Field":12}'],
    ['Scalars', '{"int32Field":-0}', '{}'],
    ['Scalars', '{"int64Field":0e999999999}', '{}'],
    ['Scalars', '{"int64Field":9007199254740993}', '{"int64Field":"9007199254740993"}'],
    ['Scalars', '{"int64Field":-9223372036854775808}', '{"int64Field":"-9223372036854775808"}'],
    ['Scalars', '{"uint64Field":1.8446744073709551615e19}', '{"uint64Field":"18446744073709551615"}'],
    ['Scalars', '{"sint64Field":"-9223372036854775808"}', '{"sint64Field":"-9223372036854775808"}'],
    ['Scalars', '{"int64Field":"\\u0031"}', '{"int64Field":"1"}'],
    ['Scalars', `{"doubleField":0.${'1'.repeat(400)}}`, '{"doubleField":0.1111111111111111}'],
    ['Scalars', '{"doubleField":-0.0}', '{"doubleField":-0}'],
    ['Scalars', '{"doubleField":5e-324,"floatField":0.1}', '{"doubleField":5e-324,"floatField":0.1}'],
    ['Scalars', '{"floatField":3.4028235e38}', '{"floatField":3.4028235e+38}'],
    ['Scalars', '{"bytesField":"_-8"}', '{"bytesField":"/+8="}'],
    ['Scalars', '{"stringField":"\\ud83d\\ude00\\u0000"}', '{"stringField":"😀\\u0000"}'],
    ['Scalars', '{"colorField":99}', '{"colorField":99}'],
    ['Choice', '{"text":null,"number":1}', '{"number":1}'],
    ['Choice', '{"number":0}', '{"number":0}'],
    ['Choice', '{"nothing":null}', '{"nothing":null}'],
    ['Choice', '{"value":null}', '{"value":null}'],
    ['Names', '{"__proto__":"a","constructor":"b","toString":"c"}', '{"Proto":"a","constructor":"b","toString":"c"}'],
    [
      'Maps',
      '{"stringString":{"__proto__":"a","constructor":""}}',
      '{"stringString":{"__proto__":"a","constructor":""}}',
    ],
    ['WellKnown', '{"struct":{"__proto__":{"a":1}}}', '{"struct":{"__proto__":{"a":1}}}'],
    ['WellKnown', '{"timestamp":"0001-01-01T00:00:00Z"}', '{"timestamp":"0001-01-01T00:00:00Z"}'],
    ['WellKnown', '{"timestamp":"9999-12-31T23:59:59.999999999Z"}', '{"timestamp":"9999-12-31T23:59:59.999999999Z"}'],
    ['WellKnown', '{"timestamp":"2024-02-29T23:00:00.5-01:30"}', '{"timestamp":"2024-03-01T00:30:00.500Z"}'],
    ['WellKnown', '{"duration":"-0.000000001s"}', '{"duration":"-0.000000001s"}'],
    ['WellKnown', '{"duration":"-315576000000.999999999s"}', '{"duration":"-315576000000.999999999s"}'],
    [
      'WellKnown',
      '{"any":{"value":"1.5s","@type":"x/google.protobuf.Duration"}}',
      '{"any":{"@type":"x/google.protobuf.Duration","value":"1.500s"}}',
    ],
    ['WellKnown', '{"any":{}}', '{"any":{}}'],
    ['WellKnown', '{"int64Value":"0","stringValue":""}', '{"int64Value":"0","stringValue":""}'],
    [
      'WellKnown',
      '{"values":[null,1],"nullValues":[null,"NULL_VALUE",0]}',
      '{"values":[null,1],"nullValues":[null,null,null]}',
    ],
    ['Legacy', '{"inner":{"a":1},"item":[{"b":"x"}]}', '{"inner":{"a":1},"item":[{"b":"x"}]}'],
    [
      'Legacy',
      '{"[transcode.test.v1.extra_number]":5,"[transcode.test.v1.extra_texts]":["a"]}',
      '{"[transcode.test.v1.extra_number]":5,"[transcode.test.v1.extra_texts]":["a"]}',
    ],
    [
      'Modern',
      '{"explicit":"","implicit":"","delimited":{"open":0}}',
      '{"explicit":"","delimited":{"open":"OPEN_KIND_ZERO"}}',
    ],
  ])('%s %s', (type, text, expected) => {
    expect(through(type, text)).toBe(expected);
  });

  test('10 MB, as one string, as many fields and as many items', { timeout: 60_000 }, () => {
    const codec = codecOf('Lists');
    const string = Buffer.from(`{"stringField":["${'é"\\n'.replace('"', '').repeat(2_500_000)}"]}`);
    expect(codec.toJson(codec.fromJson(string)).equals(string)).toBe(true);
    const items = Buffer.from(`{"int32Field":[${'1,'.repeat(5_000_000)}1]}`);
    expect(codec.toJson(codec.fromJson(items)).equals(items)).toBe(true);
    const maps = codecOf('WellKnown');
    const members = Array.from({ length: 300_000 }, (_, i) => `"${i}":{"a":[${i}]}`).join(',');
    const struct = Buffer.from(`{"struct":{${members}}}`);
    expect(maps.toJson(maps.fromJson(struct)).equals(struct)).toBe(true);
  });
});
