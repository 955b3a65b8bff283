import { ScalarType } from '@bufbuild/protobuf';
import type { DescEnum, DescField, DescMessage, FileRegistry } from '@bufbuild/protobuf';
import fc from 'fast-check';

/** JSON as text or structure: numbers that a double cannot hold are given as text. */
export type Json = { raw: string } | string | number | boolean | null | Json[] | { members: [string, Json][] };

/**
 * JSON text with white space here and there.
 * @param quoteLong put integers that a double does not hold into quotes, for implementations that would round them
 */
export function textOf(json: Json, quoteLong = false): string {
  if (json === null || typeof json !== 'object') return JSON.stringify(json);
  if (Array.isArray(json)) return `[${json.map((item) => textOf(item, quoteLong)).join(', ')}]`;
  if ('raw' in json) return quoteLong && json.raw.length > 15 ? `"${json.raw}"` : json.raw;
  const members = json.members.map(([name, value]) => `${JSON.stringify(name)}: ${textOf(value, quoteLong)}`);
  return `{${members.join(',\n ')}}`;
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom('', 'a"b\\c/\b\f\n\r\t\u0001', '\u2028 \u{1f600}', 'x'.repeat(200), '__proto__'),
);

const bytes = fc.uint8Array({ maxLength: 20 }).chain((data) => {
  const standard = Buffer.from(data).toString('base64');
  const url = Buffer.from(data).toString('base64url');
  return fc.constantFrom(standard, url, standard.replaceAll('=', ''));
});

function integer(min: bigint, max: bigint): fc.Arbitrary<Json> {
  const value = fc.oneof(
    fc.bigInt({ min, max }),
    fc.bigInt({ min: min < -20n ? -20n : min, max: 20n }),
    fc.constantFrom(min, max, 0n),
  );
  return value.chain((number) => {
    const digits = String(number);
    return fc.constantFrom<Json>(digits, { raw: digits });
  });
}

const double: fc.Arbitrary<Json> = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer().map((value) => value / 4),
  fc.constantFrom<Json>('NaN', 'Infinity', '-Infinity', 0, '1.5', '-2e-3', 5e-324, 1.7976931348623157e308),
);

const float: fc.Arbitrary<Json> = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom<Json>('NaN', 'Infinity', '-Infinity', 0, '1.5', { raw: '0.1' }),
);

function scalar(type: ScalarType): fc.Arbitrary<Json> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return bytes;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
      return double;
    case ScalarType.FLOAT:
      return float;
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return integer(-0x80000000n, 0x7fffffffn);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return integer(0n, 0xffffffffn);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return integer(-0x8000000000000000n, 0x7fffffffffffffffn);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return integer(0n, 0xffffffffffffffffn);
  }
}

function enumValue(desc: DescEnum): fc.Arbitrary<Json> {
  if (desc.typeName === 'google.protobuf.NullValue') return fc.constant(null);
  const { name, number } = desc.values[0]!;
  const declared = desc.values.flatMap((value): Json[] => [value.name, value.number]);
  return fc.constantFrom(name, number, ...declared, ...(desc.open ? [77] : []));
}

function mapKey(type: ScalarType): fc.Arbitrary<string> {
  if (type === ScalarType.STRING) return text;
  if (type === ScalarType.BOOL) return fc.constantFrom('true', 'false');
  return scalar(type).map((json) =>
    typeof json === 'object' && json !== null && 'raw' in json ? json.raw : String(json),
  );
}

const timestamp = fc
  .tuple(
    fc.integer({ min: -62135596800, max: 253402300799 }),
    fc.nat({ max: 999_999_999 }),
    fc.constantFrom(0, 3, 6, 9),
  )
  .map(([seconds, nanos, digits]) => {
    const fraction = digits === 0 ? '' : `.${String(nanos).padStart(9, '0').slice(0, digits)}`;
    return `${new Date(seconds * 1000).toISOString().slice(0, 19)}${fraction}Z`;
  });

const duration = fc
  .tuple(
    fc.boolean(),
    fc.integer({ min: 0, max: 315576000000 }),
    fc.constantFrom('', '.5', '.000000001', '.25', '.123456789'),
  )
  .map(([minus, seconds, fraction]) => `${minus && seconds > 0 ? '-' : ''}${seconds}${fraction}s`);

const value: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<Json>(null, true, false, 0, '', 1.5),
    text,
    fc.array(tie('value'), { maxLength: 3 }),
    members(tie('value')),
  ),
})).value;

function members(of: fc.Arbitrary<Json>, names: fc.Arbitrary<string> = text): fc.Arbitrary<Json> {
  return fc
    .uniqueArray(fc.tuple(names, of), { maxLength: 3, selector: ([name]) => name })
    .map((list) => ({ members: list }));
}

/** JSON that a message is read from, in all spellings that the mapping allows. */
export function jsonOf(desc: DescMessage, registry: FileRegistry, depth = 0): fc.Arbitrary<Json> {
  switch (desc.typeName) {
    case 'google.protobuf.Timestamp':
      return timestamp;
    case 'google.protobuf.Duration':
      return duration;
    case 'google.protobuf.FieldMask':
      return fc.array(fc.constantFrom('a', 'fooBar', 'a.bC.d'), { maxLength: 3 }).map((paths) => paths.join(','));
    case 'google.protobuf.Value':
      return value;
    case 'google.protobuf.Struct':
      return members(value);
    case 'google.protobuf.ListValue':
      return fc.array(value, { maxLength: 3 });
    case 'google.protobuf.Any':
      return any(registry, depth);
  }
  if (/^google\.protobuf\.\w+Value$/.test(desc.typeName)) return scalar(desc.fields[0]!.scalar!);
  return object(desc, registry, depth);
}

function any(registry: FileRegistry, depth: number): fc.Arbitrary<Json> {
  const typed = (name: string, isPlain: boolean): fc.Arbitrary<Json> =>
    fc.tuple(jsonOf(registry.getMessage(name)!, registry, depth + 1), fc.boolean()).map(([json, last]) => {
      const type: [string, Json] = ['@type', `type.googleapis.com/${name}`];
      const rest = isPlain ? (json as { members: [string, Json][] }).members : [['value', json] as [string, Json]];
      return { members: last ? [...rest, type] : [type, ...rest] };
    });
  return fc.oneof(
    fc.constant<Json>({ members: [] }),
    typed('transcode.test.v1.Scalars', true),
    typed('google.protobuf.Duration', false),
    typed('google.protobuf.Struct', false),
    typed('google.protobuf.Int64Value', false),
    typed('google.protobuf.Empty', true),
  );
}

function object(desc: DescMessage, registry: FileRegistry, depth: number): fc.Arbitrary<Json> {
  const candidates = desc.fields.filter((field) => depth < 3 || !field.message);
  if (candidates.length === 0) return fc.constant({ members: [] });
  return fc.subarray(candidates, { maxLength: Math.min(candidates.length, depth === 0 ? 40 : 4) }).chain((fields) => {
    const oneofs = new Set<string>();
    const chosen = fields.filter((field) => {
      if (!field.oneof) return true;
      const isFirst = !oneofs.has(field.oneof.name);
      oneofs.add(field.oneof.name);
      return isFirst;
    });
    const list = chosen.map((field) =>
      fc.tuple(fc.constantFrom(field.name, field.jsonName), fieldValue(field, registry, depth)),
    );
    return fc.tuple(...list).map((all) => ({ members: all }));
  });
}

function fieldValue(field: DescField, registry: FileRegistry, depth: number): fc.Arbitrary<Json> {
  switch (field.fieldKind) {
    case 'scalar':
      return scalar(field.scalar);
    case 'enum':
      return enumValue(field.enum);
    case 'message':
      return jsonOf(field.message, registry, depth + 1);
    case 'list':
      if (field.listKind === 'scalar') return fc.array(scalar(field.scalar), { maxLength: 4 });
      if (field.listKind === 'enum') return fc.array(enumValue(field.enum), { maxLength: 4 });
      return fc.array(jsonOf(field.message, registry, depth + 1), { maxLength: 3 });
    case 'map': {
      const key = mapKey(field.mapKey);
      if (field.mapKind === 'scalar') return members(scalar(field.scalar), key);
      if (field.mapKind === 'enum') return members(enumValue(field.enum), key);
      return members(jsonOf(field.message, registry, depth + 1), key);
    }
  }
}
