import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { hasOwnJsonForm } from './field.js';

export const fieldMask = 'google.protobuf.FieldMask';

/**
 * A path of `google.protobuf.FieldMask` by the JSON mapping: `user.display_name` is `user.displayName`.
 * @returns `undefined` when reading the result would not give the path again: `address_line_1`, `a__b`, `fooBar`
 */
function specJson(path: string): string | undefined {
  if (path === '' || !/^[^A-Z,]+$/.test(path)) return undefined;
  const camel = path.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return camel.includes('_') ? undefined : camel;
}

/** The reverse of `specJson`; `undefined` for what is not in lowerCamelCase. */
function specProto(path: string): string | undefined {
  if (path === '' || path.includes('_')) return undefined;
  return path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * Names of the fields that the masks of one field may speak of. A path that leads to one of them by its JSON or proto names means
 * that one, so that `addressLine1` is `address_line_1` where there is such a field. Others go by the JSON mapping alone.
 */
export class MaskNames {
  /** @param messages that masks may be about, the likeliest first */
  constructor(private readonly messages: readonly DescMessage[]) {}

  /** @returns `undefined` when the path has no meaning */
  toProto(path: string): string | undefined {
    return this.resolved(path) ?? specProto(path);
  }

  /** As `toProto` for text outside a JSON document, where a path may always be spelled as proto files do. */
  textToProto(path: string): string | undefined {
    if (path === '') return undefined;
    const byName = this.resolved(path);
    if (byName !== undefined) return byName;
    const parts = path.split('.').map((part) => (part.includes('_') ? part : specProto(part)));
    return parts.includes(undefined) ? undefined : parts.join('.');
  }

  /** @returns `undefined` when no text would be read as the path */
  toJson(path: string): string | undefined {
    const camel = specJson(path);
    if (camel !== undefined && this.toProto(camel) === path) return camel;
    for (const message of this.messages) {
      const names = walk(message, path)?.map((field) => field.jsonName);
      const json = names?.join('.');
      if (json !== undefined && !json.includes(',') && this.toProto(json) === path) return json;
    }
    return undefined;
  }

  private resolved(path: string): string | undefined {
    for (const message of this.messages) {
      const fields = walk(message, path);
      if (fields) return fields.map((field) => field.name).join('.');
    }
    return undefined;
  }
}

/** Masks whose subject nobody knows. */
export const anyMaskNames = new MaskNames([]);

/**
 * The names for masks in a field of `parent`: of the messages beside it, and of what the method answers.
 * @param output of the method whose request has the mask
 */
export function maskNamesIn(parent: DescMessage, output?: DescMessage): MaskNames {
  const beside = messagesIn(parent);
  return new MaskNames([...beside, ...(output ? [...messagesIn(output), output] : []), parent]);
}

function messagesIn(desc: DescMessage): DescMessage[] {
  return desc.fields.flatMap(({ message }) => (message && !hasOwnJsonForm(message) ? [message] : []));
}

/** The fields along a path of JSON or proto names, all of them; else `undefined`. */
function walk(message: DescMessage, path: string): DescField[] | undefined {
  const fields: DescField[] = [];
  let desc: DescMessage | undefined = message;
  for (const name of path.split('.')) {
    if (!desc || hasOwnJsonForm(desc)) return undefined;
    const field: DescField | undefined =
      desc.fields.find((one) => one.jsonName === name) ?? desc.fields.find((one) => one.name === name);
    if (!field) return undefined;
    fields.push(field);
    desc = field.fieldKind === 'map' ? undefined : field.message;
  }
  return fields;
}
