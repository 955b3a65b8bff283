import { isUtf8 } from 'node:buffer';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { SchemaError, TranscodeError } from '../errors.js';
import { decodePercent } from '../http/percent.js';
import type { FlatRule } from '../http/rule.js';
import type { PathTemplate, PathVariable } from '../http/template.js';
import { compileFieldReader } from '../read/field-reader.js';
import type { FieldReader } from '../read/field-reader.js';
import { JsonScanner } from '../read/json-scanner.js';
import type { MessageReader, MessageReaders } from '../read/message-reader.js';
import { Overlay, writeNested } from '../read/overlay.js';
import type { TextField } from '../read/overlay.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import type { Allocate } from '../wire/allocate.js';
import { ProtoWriter } from '../wire/proto-writer.js';
import { maskField, writeInferredMask } from './field-mask.js';
import { writeHttpBody } from './http-body.js';
import { bodyForm } from './media-type.js';
import type { BodyForm } from './media-type.js';
import { Params } from './params.js';
import { requiredChecker } from './required.js';
import { UnboundPath, resolveFields, textField } from './text-field.js';

// Encoding never waits, so one of each serves all requests.
const scanner = new JsonScanner();
const writer = new ProtoWriter();

const httpBody = 'google.api.HttpBody';

/** What the JSON or form body of a request sets. */
type BodyTarget =
  | { kind: 'none' }
  | { kind: 'message'; reader: MessageReader; form: Params }
  | { kind: 'field'; desc: DescField; reader: FieldReader; form: Params | undefined }
  | { kind: 'raw'; desc: DescField | undefined };

/** Builds the request messages of one HTTP rule. */
export class RequestEncoder {
  readonly target: BodyTarget;
  private readonly variables: readonly { variable: PathVariable; field: TextField; name: string }[];
  private readonly query: Params;
  private readonly checkRequired: ((message: Uint8Array) => void) | undefined;
  private readonly mask: DescField | undefined;

  /** @throws SchemaError that says which part of the rule does not fit the message */
  constructor(
    input: DescMessage,
    rule: FlatRule,
    template: PathTemplate,
    readers: MessageReaders,
    private readonly options: {
      ignoreUnknownQuery: boolean;
      ignoreUnknownForm: boolean;
      depthMax: number;
      allocate?: Allocate | undefined;
    },
  ) {
    this.target = bodyTarget(input, rule, readers, options.ignoreUnknownForm);
    this.variables = template.variables.map((variable) => ({
      variable,
      field: variableField(input, variable, rule, readers),
      name: variable.fieldPath.join('.'),
    }));
    const bodyField = rule.body === '*' ? '*' : targetField(this.target);
    this.query = new Params(input, readers, { bodyField, ignoreUnknown: options.ignoreUnknownQuery });
    this.checkRequired = requiredChecker(input);
    this.mask = rule.httpMethod === 'PATCH' && this.target.kind === 'field' ? maskField(input) : undefined;
  }

  /** The fields that path and query set. @throws TranscodeError */
  overlay(variables: readonly string[], query: string): Overlay | undefined {
    if (this.variables.length === 0 && query === '') return undefined;
    const overlay = new Overlay();
    for (let i = 0; i < this.variables.length; i++) {
      const { variable, field, name } = this.variables[i]!;
      const text = decodePercent(variables[i]!, variable.multi);
      if (text === undefined) throw new TranscodeError('INVALID_PATH', `"${name}" is not percent-encoded UTF-8`, name);
      overlay.add(field, text, name);
    }
    if (query !== '') this.query.addTo(overlay, query);
    return overlay;
  }

  /** How the body is read. @throws TranscodeError `UNSUPPORTED_MEDIA_TYPE` */
  form(contentType: string | undefined): BodyForm {
    if (this.target.kind === 'raw') return undefined;
    const form = bodyForm(contentType);
    if (form === undefined) {
      throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', 'the body must be JSON or a form, in UTF-8');
    }
    return form;
  }

  /** @throws TranscodeError */
  encode(overlay: Overlay | undefined, contentType: string | undefined, body: Uint8Array | undefined): Uint8Array {
    try {
      this.write(writer, overlay, contentType, body);
      const message = writer.finish(this.options.allocate);
      this.checkRequired?.(message);
      return message;
    } finally {
      writer.reset();
      scanner.release();
    }
  }

  private write(
    w: ProtoWriter,
    overlay: Overlay | undefined,
    contentType: string | undefined,
    body: Uint8Array | undefined,
  ): void {
    const { target } = this;
    if (target.kind === 'raw') {
      overlay?.write(w, undefined);
      const data = body ?? nothing;
      if (target.desc) writeNested(w, target.desc, () => writeHttpBody(w, contentType ?? '', data));
      else writeHttpBody(w, contentType ?? '', data);
    } else if (body === undefined || body.length === 0) {
      overlay?.write(w, undefined);
    } else if (target.kind === 'none') {
      checkNoBody(body);
      overlay?.write(w, undefined);
    } else if (this.form(contentType) === 'form') {
      this.writeForm(w, overlay, target.form, body);
    } else {
      this.writeJson(w, overlay, target, body);
    }
  }

  private writeJson(
    w: ProtoWriter,
    overlay: Overlay | undefined,
    target: BodyTarget & { kind: 'message' | 'field' },
    body: Uint8Array,
  ): void {
    scanner.reset(body, this.options.depthMax);
    if (target.kind === 'message') {
      target.reader.read(scanner, w, overlay);
      scanner.finish();
      return;
    }
    const { desc, reader } = target;
    const child = overlay?.children?.get(desc.number);
    if (reader.readsNull || !scanner.null()) {
      reader.read(scanner, w, child?.overlay);
      overlay?.write(w, new Set([desc.number]));
    } else {
      overlay?.write(w, undefined);
    }
    scanner.finish();
    if (this.mask && desc.message) writeInferredMask(w, this.mask, desc.message, body, overlay);
  }

  private writeForm(w: ProtoWriter, overlay: Overlay | undefined, form: Params | undefined, body: Uint8Array): void {
    if (!form) throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', 'the body must be JSON');
    if (!isUtf8(body)) throw new TranscodeError('INVALID_VALUE', 'the form is not UTF-8');
    const fields = overlay ?? new Overlay();
    form.addTo(fields, Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
    fields.write(w, undefined);
  }
}

const nothing = new Uint8Array(0);

function targetField(target: BodyTarget): DescField | undefined {
  return target.kind === 'field' || target.kind === 'raw' ? target.desc : undefined;
}

function bodyTarget(input: DescMessage, rule: FlatRule, readers: MessageReaders, ignoreUnknown: boolean): BodyTarget {
  if (rule.body === '') return { kind: 'none' };
  if (rule.body === '*') {
    if (input.typeName === httpBody) return { kind: 'raw', desc: undefined };
    const form = new Params(input, readers, { ignoreUnknown });
    return { kind: 'message', reader: readers.of(input), form };
  }
  const desc = input.fields.find((field) => field.name === rule.body || field.jsonName === rule.body);
  if (!desc) throw new SchemaError(`${rule.source}: body "${rule.body}" is no field of ${input.typeName}`);
  if (desc.fieldKind === 'message' && desc.message.typeName === httpBody) return { kind: 'raw', desc };
  const hasFields = desc.fieldKind === 'message' && !hasOwnJsonForm(desc.message);
  const form = hasFields ? new Params(desc.message, readers, { within: desc, ignoreUnknown }) : undefined;
  return { kind: 'field', desc, reader: compileFieldReader(desc, readers), form };
}

function variableField(input: DescMessage, variable: PathVariable, rule: FlatRule, readers: MessageReaders): TextField {
  const name = variable.fieldPath.join('.');
  try {
    const path = resolveFields(input, variable.fieldPath);
    const leaf = path.at(-1)!;
    if (leaf.fieldKind === 'list') throw new UnboundPath(`"${leaf.name}" is repeated`);
    if (path.length === 1 && (leaf.name === rule.body || leaf.jsonName === rule.body)) {
      throw new UnboundPath('the body sets this field');
    }
    return textField(path, readers);
  } catch (error) {
    if (!(error instanceof UnboundPath)) throw error;
    throw new SchemaError(`${rule.source}: variable "${name}": ${error.message}`, { cause: error });
  }
}

/** A rule without a body accepts none, or an empty object, which many clients send with every POST. */
function checkNoBody(body: Uint8Array): void {
  const text = body.length > 64 ? undefined : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  if (text !== undefined && /^\s*(\{\s*\})?\s*$/.test(text)) return;
  throw new TranscodeError('UNEXPECTED_BODY', 'this method takes no body');
}
