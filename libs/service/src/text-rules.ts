import {
  createFileRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  getExtension,
  hasExtension,
  ScalarType,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { readDescriptorSet } from '@sluice/contract';
import { Problem } from '@sluice/problem';

/** Which characters a text may have, from the field option `sluice.text.v1.text`. */
export interface TextRule {
  /** Finds a character that is not taken. */
  readonly refused: RegExp | undefined;
  /** In code points. */
  readonly charactersMax: number;
}

/** Checks the texts of a request. @throws Problem INVALID_ARGUMENT naming the field */
export type TextCheck = (request: unknown) => void;

interface CheckedField {
  readonly name: string;
  readonly rule: TextRule | undefined;
  /** Of a map: the rule of its keys. */
  readonly keys?: TextRule;
  /** What the message of the field holds. */
  readonly fields: readonly CheckedField[];
}

const CONTROL = /\p{Cc}/u;
const CONTROL_BUT_LINES = /[^\P{Cc}\t\n\r]/u;

/** The check of every method of the contract whose request has a text, by its path, `/package.Service/Method`. */
export function readTextChecks(): ReadonlyMap<string, TextCheck> {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readDescriptorSet()));
  const extension = registry.getExtension('sluice.text.v1.text');
  if (!extension) throw new Error('the descriptor set lacks sluice.text.v1.text: run `npm run generate`');
  const known = new Map<string, CheckedField[]>();

  const ruleOf = (field: DescField): TextRule => {
    const { options } = field.proto;
    const option =
      options && hasExtension(options, extension)
        ? (getExtension(options, extension) as { lines: boolean; any: boolean; charactersMax: number })
        : { lines: false, any: false, charactersMax: 0 };
    return {
      refused: option.any ? undefined : option.lines ? CONTROL_BUT_LINES : CONTROL,
      charactersMax: option.charactersMax || Infinity,
    };
  };
  /** A message that contains itself gets its own list, which is filled by the time it is used. */
  const fieldsOf = (message: DescMessage): readonly CheckedField[] => {
    const found = known.get(message.typeName);
    if (found) return found;
    const fields: CheckedField[] = [];
    known.set(message.typeName, fields);
    for (const field of message.fields) {
      const isText = field.scalar === ScalarType.STRING;
      const rule = isText ? ruleOf(field) : undefined;
      const keys = field.fieldKind === 'map' ? { keys: ruleOf(field) } : undefined;
      if (!isText && !field.message && !keys) continue;
      fields.push({ name: field.name, rule, fields: field.message ? fieldsOf(field.message) : [], ...keys });
    }
    return fields;
  };

  const checks = new Map<string, TextCheck>();
  for (const descriptor of registry) {
    if (descriptor.kind !== 'service' || !descriptor.typeName.startsWith('sluice.')) continue;
    for (const method of descriptor.methods) {
      const fields = fieldsOf(method.input);
      if (fields.length > 0) {
        checks.set(`/${descriptor.typeName}/${method.name}`, (request) => checkMessage(request, fields, ''));
      }
    }
  }
  return checks;
}

function checkMessage(message: unknown, fields: readonly CheckedField[], path: string): void {
  if (typeof message !== 'object' || message === null) return;
  for (const { name, rule, keys, fields: inner } of fields) {
    const value = (message as Record<string, unknown>)[name];
    if (keys !== undefined && typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        checkText(key, keys, path + name);
        checkValue(item, rule, inner, path + name);
      }
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) checkValue(item, rule, inner, `${path}${name}[${index}]`);
    } else if (value !== undefined && value !== null && value !== '') checkValue(value, rule, inner, path + name);
  }
}

function checkValue(value: unknown, rule: TextRule | undefined, fields: readonly CheckedField[], path: string): void {
  if (rule) checkText(String(value), rule, path);
  else checkMessage(value, fields, `${path}.`);
}

/** @throws Problem INVALID_ARGUMENT naming the field, the character and its place, never the text */
export function checkText(text: string, { refused, charactersMax }: TextRule, field: string): void {
  const at = refused === undefined ? -1 : text.search(refused);
  if (at >= 0) {
    const character = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0');
    throw invalid(field, `must not contain the control character U+${character}, which is at position ${at + 1}`);
  }
  if (!text.isWellFormed()) throw invalid(field, 'must be Unicode text, without halves of surrogate pairs');
  if (text.length > charactersMax && [...text.slice(0, 2 * charactersMax + 2)].length > charactersMax) {
    throw invalid(field, `must have at most ${charactersMax} characters`);
  }
}

function invalid(field: string, expectation: string): Problem {
  return new Problem('INVALID_ARGUMENT', `${field} ${expectation}.`, { details: { field } });
}
