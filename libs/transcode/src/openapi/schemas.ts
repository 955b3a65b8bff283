import { legacyRequired } from '../mapping/field.js';
import { ScalarType } from '@bufbuild/protobuf';
import type { DescEnum, DescField, DescMessage, JsonObject } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import type { JsonOptions } from '../codec.js';
import { commentOf } from './comments.js';

function described(schema: JsonObject, description: string): JsonObject {
  return description === '' ? schema : { ...schema, description };
}

/** JSON Schemas (draft 2020-12, as in OpenAPI 3.1) of messages and enums, collected as components when referred to. */
export class Schemas {
  readonly components: Record<string, JsonObject> = {};
  private readonly names = new Map<DescMessage | DescEnum, Map<string, string>>();

  /** The schema of a message's JSON form: a reference, or the form itself for well-known types. */
  message(desc: DescMessage, json: Required<JsonOptions>): JsonObject {
    return wellKnown(desc) ?? this.reference(desc, json, () => this.object(desc, desc.fields, json));
  }

  /** An object with some fields of a message. */
  object(desc: DescMessage, fields: readonly DescField[], json: Required<JsonOptions>): JsonObject {
    const required = fields.filter((field) => field.presence === legacyRequired).map((field) => nameOf(field, json));
    return described(
      {
        type: 'object',
        ...(required.length > 0 && { required }),
        properties: Object.fromEntries(fields.map((field) => [nameOf(field, json), this.field(field, json)])),
      },
      commentOf(desc),
    );
  }

  field(field: DescField, json: Required<JsonOptions>): JsonObject {
    const others = field.oneof?.fields.filter((other) => other !== field).map((other) => `\`${nameOf(other, json)}\``);
    const exclusion = others?.length ? `Not together with ${others.join(', ')}.` : '';
    return described(this.value(field, json), [commentOf(field), exclusion].filter(Boolean).join('\n'));
  }

  value(field: DescField, json: Required<JsonOptions>): JsonObject {
    switch (field.fieldKind) {
      case 'scalar':
        return scalar(field.scalar);
      case 'enum':
        return this.enumeration(field.enum, json);
      case 'message':
        return this.message(field.message, json);
      case 'list':
        return { type: 'array', items: this.element(field, json) };
      case 'map':
        return { type: 'object', additionalProperties: this.element(field, json) };
    }
  }

  private element(field: DescField & { fieldKind: 'list' | 'map' }, json: Required<JsonOptions>): JsonObject {
    if (field.message) return this.message(field.message, json);
    return field.enum ? this.enumeration(field.enum, json) : scalar(field.scalar!);
  }

  private enumeration(desc: DescEnum, json: Required<JsonOptions>): JsonObject {
    if (desc.typeName === 'google.protobuf.NullValue') return { type: 'null' };
    return this.reference(desc, json, () => {
      const lines = desc.values.flatMap((value) => {
        const comment = commentOf(value).replaceAll('\n', ' ');
        return comment === '' ? [] : [`- \`${value.name}\`: ${comment}`];
      });
      const schema: JsonObject = json.enumNumbers
        ? { type: 'integer', enum: [...new Set(desc.values.map((value) => value.number))] }
        : { type: 'string', enum: desc.values.map((value) => value.jsonName) };
      return described(schema, [commentOf(desc), ...lines].filter(Boolean).join('\n'));
    });
  }

  private reference(desc: DescMessage | DescEnum, json: Required<JsonOptions>, schema: () => JsonObject): JsonObject {
    // What is printed by other options, or means another type in another descriptor set, is a component of its own.
    const form = `${json.protoNames} ${json.enumNumbers}`;
    let forms = this.names.get(desc);
    if (!forms) this.names.set(desc, (forms = new Map()));
    let name = forms.get(form);
    if (name === undefined) {
      name = desc.typeName;
      for (let count = 2; name in this.components; count++) name = `${desc.typeName}_${count}`;
      forms.set(form, name);
      // Held before it is made, because it may refer to itself.
      this.components[name] = {};
      this.components[name] = schema();
    }
    return { $ref: `#/components/schemas/${name}` };
  }
}

/** How a field is called in JSON. */
export function nameOf(field: DescField, json: Required<JsonOptions>): string {
  return json.protoNames ? field.name : field.jsonName;
}

function scalar(type: ScalarType): JsonObject {
  switch (type) {
    case ScalarType.STRING:
      return { type: 'string' };
    case ScalarType.BYTES:
      return { type: 'string', contentEncoding: 'base64' };
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.DOUBLE:
      return { type: 'number', format: 'double' };
    case ScalarType.FLOAT:
      return { type: 'number', format: 'float' };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: 'integer', format: 'int32' };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: 'integer', minimum: 0, maximum: 0xffffffff };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { type: 'string', format: 'uint64' };
    default:
      return { type: 'string', format: 'int64' };
  }
}

function wellKnown(desc: DescMessage): JsonObject | undefined {
  switch (desc.typeName) {
    case 'google.protobuf.Timestamp':
      return { type: 'string', format: 'date-time' };
    case 'google.protobuf.Duration':
      return { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]{1,9})?s$', examples: ['1.5s'] };
    case 'google.protobuf.FieldMask':
      return { type: 'string', examples: ['title,author.givenName'] };
    case 'google.protobuf.Struct':
      return { type: 'object' };
    case 'google.protobuf.ListValue':
      return { type: 'array' };
    case 'google.protobuf.Value':
      return {};
    case 'google.protobuf.Empty':
      return { type: 'object' };
    case 'google.protobuf.Any':
      return { type: 'object', properties: { '@type': { type: 'string' } } };
    default: {
      if (!isWrapperDesc(desc)) return undefined;
      const inner = scalar(desc.fields[0]!.scalar!);
      return { ...inner, type: [inner['type']!, 'null'] };
    }
  }
}
