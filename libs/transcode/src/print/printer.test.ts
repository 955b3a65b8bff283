import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { describe, expect, test } from 'vitest';
import { schema } from '../../testdata/load.js';
import { messageCodec } from '../codec.js';
import type { JsonOptions, MessageCodec } from '../codec.js';

function codec(type: string, options: JsonOptions = { printDefaults: false }): MessageCodec {
  return messageCodec(schema, type.includes('.') ? type : `transcode.test.v1.${type}`, options)!;
}

/** JSON of a message written by hand. */
function printed(type: string, write: (w: BinaryWriter) => void, options?: JsonOptions): string {
  const writer = new BinaryWriter();
  write(writer);
  return codec(type, options).toJson(writer.finish()).toString();
}

function read(type: string, json: unknown): Uint8Array {
  return codec(type).fromJson(Buffer.from(JSON.stringify(json)));
}

describe('maps with one key in several spellings print it once, with its last value', () => {
  const entry = (w: BinaryWriter, field: number, key: (w: BinaryWriter) => void, value: string): void => {
    w.tag(field, WireType.LengthDelimited).fork();
    key(w);
    w.tag(2, WireType.LengthDelimited).string(value).join();
  };
  const varint =
    (...bytes: number[]) =>
    (w: BinaryWriter) =>
      w.tag(1, WireType.Varint).raw(Uint8Array.from(bytes));
  const numberEntry = (w: BinaryWriter, field: number, key: number[], value: number): void => {
    w.tag(field, WireType.LengthDelimited).fork();
    varint(...key)(w);
    w.tag(2, WireType.Varint).sint64(value).join();
  };
  const minusOne5 = [0xff, 0xff, 0xff, 0xff, 0x0f];
  const minusOne10 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

  test('bool', () => {
    const json = printed('Maps', (w) => {
      entry(w, 12, varint(1), 'a');
      entry(w, 12, varint(2), 'b');
      entry(w, 12, varint(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), 'c');
      entry(w, 12, varint(0x80, 0), 'd');
    });
    expect(json).toBe('{"boolString":{"true":"c","false":"d"}}');
  });

  test('-1 in five and in ten octets, and bits beyond the type', () => {
    const int32 = (keys: number[][]): string =>
      printed('Maps', (w) => keys.forEach((key, at) => numberEntry(w, 2, key, at)));
    expect(int32([minusOne5, minusOne10])).toBe('{"int32Int64":{"-1":"2"}}');
    expect(int32([[1], [0x81, 0x80, 0x80, 0x80, 0x10]])).toBe('{"int32Int64":{"1":"2"}}');
    expect(int32([[1], [0x81, 0], [2]])).toBe('{"int32Int64":{"1":"2","2":"4"}}');
    const sint64 = printed('Maps', (w) => [[1], [0x81, 0x80, 0]].forEach((key, at) => numberEntry(w, 7, key, at)));
    expect(sint64).toBe('{"sint64Sint64":{"-1":"1"}}');
  });

  test('strings whose bad bytes print alike', () => {
    const json = printed('Legacy', (w) => {
      for (const key of [[0x61, 0xff], [0x61, 0xfe], [0x61, 0xef, 0xbf, 0xbd], [0x62]]) {
        w.tag(5, WireType.LengthDelimited).fork();
        w.tag(1, WireType.LengthDelimited).bytes(Uint8Array.from(key)).tag(2, WireType.Varint).int32(1).join();
      }
    });
    expect(json).toBe('{"sizeByName":{"a\ufffd":"SMALL","b":"SMALL"}}');
  });
});

describe('with defaults off', () => {
  test('what prints as an empty list or map is left out', () => {
    const empty = (field: number) => (w: BinaryWriter) =>
      w.tag(field, WireType.LengthDelimited).bytes(new Uint8Array(0));
    expect(printed('Lists', empty(3))).toBe('{}');
    expect(printed('Lists', (w) => empty(1)(empty(3)(w)).tag(18, WireType.Varint).int32(1))).toBe(
      '{"unpackedField":[1]}',
    );
    // A number that a closed enum does not declare is an unknown field, also in a list or a map.
    expect(
      printed('Legacy', (w) =>
        w.tag(4, WireType.LengthDelimited).bytes(Uint8Array.of(9)).tag(2, WireType.LengthDelimited).string('n'),
      ),
    ).toBe('{"name":"n"}');
    expect(
      printed('Legacy', (w) => w.tag(5, WireType.LengthDelimited).bytes(Uint8Array.of(0x0a, 1, 0x61, 0x10, 9))),
    ).toBe('{}');
  });

  test('an empty list is one of two kinds of a oneof all the same, and is printed with defaults on', () => {
    expect(codec('google.protobuf.Value').toJson(Uint8Array.of(0x32, 0)).toString()).toBe('[]');
    expect(printed('Profile', (w) => w.tag(7, WireType.LengthDelimited).bytes(new Uint8Array(0)), {})).toContain(
      '"numbers":[]',
    );
  });
});

test.each([
  [1.401298464324817e-45, '1e-45'],
  [-1.401298464324817e-45, '-1e-45'],
  [2.802596928649634e-45, '3e-45'],
  [1.1754942106924411e-38, '1.1754942e-38'],
  [1.1754943508222875e-38, '1.1754944e-38'],
  [3.4028234663852886e38, '3.4028235e+38'],
  [16777216, '16777216'],
  [0.1, '0.1'],
])('the float %d prints as %s', (value, text) => {
  const json = printed('Scalars', (w) => w.tag(2, WireType.Bit32).float(value));
  expect(json).toBe(`{"floatField":${text}}`);
  expect(
    codec('Scalars')
      .toJson(codec('Scalars').fromJson(Buffer.from(json)))
      .toString(),
  ).toBe(json);
});

describe('masks', () => {
  const mask = (path: string) => (w: BinaryWriter) =>
    w.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(path).join();

  test.each([
    ['nick_name', 'nickName'],
    ['address_line_1', 'addressLine1'],
    ['profile.address_line_1', 'profile.addressLine1'],
    ['parent.parent.address_line_1', 'parent.parent.addressLine1'],
    ['custom', 'custom'],
    ['foo__bar', 'fooBar'],
    ['_leading.name', 'Leading.name'],
    ['foo_3_bar', undefined],
    ['some__thing', undefined],
    ['fooBar', undefined],
    ['trailing_', undefined],
    ['a,b', undefined],
    ['', undefined],
  ])('%j prints as %j, which reads as the same, or is refused', (path, text) => {
    const print = (): string => printed('UpdateProfileRequest', mask(path));
    if (text === undefined) return expect(print).toThrow('has no lowerCamelCase');
    expect(print()).toBe(`{"updateMask":${JSON.stringify(text)}}`);
    const back = codec('UpdateProfileRequest').fromJson(Buffer.from(print()));
    expect(printed('UpdateProfileRequest', (w) => w.raw(back))).toBe(print());
    expect(Buffer.from(back).toString()).toContain(path);
  });
});

test('an Any of Empty, with "value" as some implementations write it and without', () => {
  const any = (json: string): string =>
    codec('google.protobuf.Any')
      .toJson(codec('google.protobuf.Any').fromJson(Buffer.from(json)))
      .toString();
  const type = '"@type":"type.googleapis.com/google.protobuf.Empty"';
  expect(any(`{${type}}`)).toBe(`{${type}}`);
  expect(any(`{${type},"value":{}}`)).toBe(`{${type}}`);
  expect(any(`{"value":{},${type}}`)).toBe(`{${type}}`);
  expect(() => any(`{${type},"value":{"a":1}}`)).toThrow('has no field "a"');
  expect(() => any(`{${type},"value":null}`)).toThrow('expected');
  expect(() => any(`{${type},"other":{}}`)).toThrow('has only "@type" and "value"');
});

describe('depth', () => {
  const struct = (levels: number): unknown => (levels === 1 ? {} : { a: struct(levels - 1) });
  const list = (levels: number): unknown => (levels === 1 ? [] : [list(levels - 1)]);
  const tree = (levels: number): unknown => (levels === 0 ? {} : { left: tree(levels - 1) });
  const any = (levels: number): unknown =>
    levels === 0
      ? { '@type': 'x/google.protobuf.Empty' }
      : { '@type': 'x/google.protobuf.Any', value: any(levels - 1) };

  /** How many messages a C++ or Java service finds within one another: it takes a hundred. */
  test.each([
    ['a Struct', (levels: number) => ({ struct: struct(levels) }), 34],
    ['a Value that is a list', (levels: number) => ({ value: list(levels) }), 50],
    ['a ListValue', (levels: number) => ({ list: list(levels) }), 50],
    ['an Any', (levels: number) => ({ any: any(levels) }), 98],
  ])('%s is taken as deep as services take it, and printed', (_, json, most) => {
    const text = codec('WellKnown')
      .toJson(read('WellKnown', json(most)))
      .toString();
    expect(JSON.parse(text)).toEqual(json(most));
    expect(() => read('WellKnown', json(most + 1))).toThrow('nested deeper than 100 levels of messages');
  });

  test('messages in messages, lists and maps', () => {
    expect(
      JSON.parse(
        codec('Tree')
          .toJson(read('Tree', tree(100)))
          .toString(),
      ),
    ).toEqual(tree(100));
    expect(() => read('Tree', tree(101))).toThrow('nested deeper');
    const inMap = (levels: number): unknown => ({ stringTree: { a: tree(levels) } });
    expect(read('Maps', inMap(98)).length).toBeGreaterThan(0);
    expect(() => read('Maps', inMap(99))).toThrow('nested deeper');
    const inList = (levels: number): unknown => (levels === 0 ? {} : { children: [inList(levels - 1)] });
    expect(read('Tree', inList(100)).length).toBeGreaterThan(0);
    expect(() => read('Tree', inList(101))).toThrow('nested deeper');
  });

  test('what only has JSON readers is printed as deep as those take it', () => {
    const wire = (levels: number): Buffer => {
      let inner = Buffer.alloc(0);
      for (let level = 1; level < levels; level++) {
        inner = Buffer.from(
          new BinaryWriter()
            .tag(1, WireType.LengthDelimited)
            .fork()
            .tag(1, WireType.LengthDelimited)
            .string('a')
            .tag(2, WireType.LengthDelimited)
            .fork()
            .tag(5, WireType.LengthDelimited)
            .bytes(inner)
            .join()
            .join()
            .finish(),
        );
      }
      return inner;
    };
    expect(JSON.parse(codec('google.protobuf.Struct').toJson(wire(100)).toString())).toEqual(struct(100));
    expect(() => codec('google.protobuf.Struct').toJson(wire(102))).toThrow('nested deeper than 300 levels');
  });
});
