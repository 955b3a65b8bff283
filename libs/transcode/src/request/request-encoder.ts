import { isUtf8 } from 'node:buffer';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { SchemaError, TranscodeError, shorten } from '../errors.js';
import { decodePercent } from '../http/percent.js';
import type { FlatRule } from '../http/rule.js';
import type { PathTemplate, PathVariable } from '../http/template.js';
import { compileFieldReader } from '../read/field-reader.js';
import type { FieldReader } from '../read/field-reader.js';
import { JsonScanner } from '../read/json-scanner.js';
import { ObjectReader } from '../read/message-reader.js';
import type { MessageReader, MessageReaders } from '../read/message-reader.js';
import { Overlay, writeNested } from '../read/overlay.js';
import type { TextField } from '../read/overlay.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import type { Allocate } from '../wire/allocate.js';
import { ProtoWriter } from '../wire/proto-writer.js';
import { maskField, pathsOfForm, pathsOfJson, takesMask, writeMask } from './field-mask.js';
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
  | { kind: 'field'; path: readonly DescField[]; reader: FieldReader; form: Params | undefined }
  /** The path is empty when the whole message is a `google.api.HttpBody`. */
  | { kind: 'raw'; path: readonly DescField[] };

interface Variable {
  readonly variable: PathVariable;
  readonly field: TextField;
  /** As the template has it. */
  readonly name: string;
  /** Its text is a list, with commas between the items. */
  readonly isList: boolean;
}

export interface RequestOptions {
  readonly ignoreUnknownQuery: boolean;
  readonly ignoreUnknownForm: boolean;
  /** Whether a query parameter that sets no field is to be left out. */
  readonly isSystem?: ((name: string) => boolean) | undefined;
  readonly depthMax: number;
  readonly allocate?: Allocate | undefined;
}

/** Builds the request messages of one HTTP rule. */
export class RequestEncoder {
  readonly target: BodyTarget;
  private readonly variables: readonly Variable[];
  private readonly query: Params;
  private readonly checkRequired: ((message: Uint8Array) => void) | undefined;
  private readonly mask: DescField | undefined;

  /**
   * @param output of the method, for masks that speak of it
   * @throws SchemaError that says which part of the rule does not fit the message
   */
  constructor(
    input: DescMessage,
    output: DescMessage,
    rule: FlatRule,
    template: PathTemplate,
    readers: MessageReaders,
    private readonly options: RequestOptions,
  ) {
    this.target = bodyTarget(input, rule, readers, options.ignoreUnknownForm);
    const bodyPath = rule.body === '*' ? '*' : targetPath(this.target);
    this.variables = template.variables.map((variable) => pathVariable(input, variable, rule, bodyPath, readers));
    const { ignoreUnknownQuery: ignoreUnknown, isSystem } = options;
    this.query = new Params(input, readers, { source: 'query', bodyPath, ignoreUnknown, isSystem, output });
    this.checkRequired = requiredChecker(input);
    const isPatch = rule.httpMethod === 'PATCH' && this.target.kind === 'field' && this.target.path.length === 1;
    this.mask = isPatch ? maskField(input) : undefined;
  }

  /** Whether a JSON array can be the value of a body, and not only a list of several. */
  get readsArrays(): boolean {
    const { target } = this;
    if (target.kind === 'message') return !(target.reader instanceof ObjectReader);
    const desc = target.kind === 'field' ? target.path.at(-1) : undefined;
    return desc?.fieldKind === 'list' || (desc?.message !== undefined && hasOwnJsonForm(desc.message));
  }

  /** The fields that path and query set. @throws TranscodeError */
  overlay(variables: readonly string[], query: string): Overlay | undefined {
    if (this.variables.length === 0 && query === '') return undefined;
    const overlay = new Overlay();
    for (let i = 0; i < this.variables.length; i++) addVariable(overlay, this.variables[i]!, variables[i]!);
    if (query !== '') this.query.addTo(overlay, query);
    return overlay;
  }

  /** How the body is read. @throws TranscodeError `UNSUPPORTED_MEDIA_TYPE` */
  form(contentType: string | undefined): BodyForm {
    if (this.target.kind === 'raw') return undefined;
    const form = bodyForm(contentType);
    if (form === undefined) {
      const text = `the body must be JSON or a form, in UTF-8, but its Content-Type is "${shorten(contentType ?? '')}"; send ${jsonHeader}`;
      throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', text);
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
      this.writeRaw(w, target.path, overlay, contentType ?? '', body ?? nothing);
    } else if (body === undefined || body.length === 0) {
      overlay?.write(w, undefined);
    } else if (target.kind === 'none') {
      checkNoBody(body);
      overlay?.write(w, undefined);
    } else if (this.form(contentType) === 'form') {
      this.writeForm(w, overlay, target, body);
    } else if (contentType === undefined || contentType === '') {
      this.writeUntyped(w, overlay, target, body);
    } else {
      this.writeJson(w, overlay, target, body);
    }
  }

  private writeRaw(
    w: ProtoWriter,
    path: readonly DescField[],
    overlay: Overlay | undefined,
    contentType: string,
    data: Uint8Array,
  ): void {
    const desc = path.at(-1);
    if (desc) {
      writeAround(w, path, 0, overlay, (inner) => {
        writeNested(w, desc, () => {
          inner?.write(w, undefined);
          writeHttpBody(w, contentType, data);
        });
      });
    } else {
      overlay?.write(w, undefined);
      writeHttpBody(w, contentType, data);
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
    const { path, reader } = target;
    const desc = path.at(-1)!;
    const mask = this.mask && !takesMask(overlay, this.mask) ? this.mask : undefined;
    writeAround(w, path, 0, overlay, (inner) => {
      if (reader.readsNull || !scanner.null()) reader.read(scanner, w, inner);
      else if (inner) writeNested(w, desc, () => inner.write(w, undefined));
    });
    scanner.finish();
    if (mask && desc.message) writeMask(w, mask, pathsOfJson(desc.message, body));
  }

  /** A body without a Content-Type is read as JSON; what is none gets told why it was. */
  private writeUntyped(
    w: ProtoWriter,
    overlay: Overlay | undefined,
    target: BodyTarget & { kind: 'message' | 'field' },
    body: Uint8Array,
  ): void {
    try {
      this.writeJson(w, overlay, target, body);
    } catch (error) {
      if (!(error instanceof TranscodeError) || !error.position) throw error;
      if (error.code !== 'INVALID_JSON' && error.position.offset > 0) throw error;
      const text = `${error.message}; the request has no Content-Type, so its body was read as JSON: send ${jsonHeader} with JSON, or ${formType} with a form`;
      throw new TranscodeError(error.code, text, error.field, error.position);
    }
  }

  private writeForm(
    w: ProtoWriter,
    overlay: Overlay | undefined,
    target: BodyTarget & { kind: 'message' | 'field' },
    body: Uint8Array,
  ): void {
    if (looksLikeJson(body)) {
      const text = `the body is JSON but was sent as a form, ${formType}, as "curl -d" does by itself; send ${jsonHeader}`;
      throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', text);
    }
    if (!target.form) throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', `the body must be JSON; send ${jsonHeader}`);
    if (!isUtf8(body)) throw new TranscodeError('INVALID_VALUE', 'the form is not UTF-8');
    const fields = overlay ?? new Overlay();
    const added: TextField[] = [];
    target.form.addTo(fields, Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString(), added);
    const mask = this.mask && !takesMask(fields, this.mask) ? this.mask : undefined;
    fields.write(w, undefined);
    if (mask) writeMask(w, mask, pathsOfForm(added, 1));
  }
}

const nothing = new Uint8Array(0);
const jsonHeader = '"content-type: application/json"';
const formType = 'application/x-www-form-urlencoded';

/** Whether the first character is that of an object or array, with which no form begins. */
function looksLikeJson(body: Uint8Array): boolean {
  const first = body.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
  return first === 0x7b || first === 0x5b;
}

/** Writes what an overlay sets of the messages along a path, and by `last` the field at its end, each message once. */
function writeAround(
  w: ProtoWriter,
  path: readonly DescField[],
  index: number,
  overlay: Overlay | undefined,
  last: (inner: Overlay | undefined) => void,
): void {
  const desc = path[index]!;
  const inner = overlay?.children?.get(desc.number)?.overlay;
  if (index === path.length - 1) last(inner);
  else writeNested(w, desc, () => writeAround(w, path, index + 1, inner, last));
  overlay?.write(w, new Set([desc.number]));
}

function targetPath(target: BodyTarget): readonly DescField[] | undefined {
  return target.kind === 'field' || target.kind === 'raw' ? target.path : undefined;
}

function bodyTarget(input: DescMessage, rule: FlatRule, readers: MessageReaders, ignoreUnknown: boolean): BodyTarget {
  if (rule.body === '') return { kind: 'none' };
  if (rule.body === '*') {
    if (input.typeName === httpBody) return { kind: 'raw', path: [] };
    const form = new Params(input, readers, { source: 'form', ignoreUnknown });
    return { kind: 'message', reader: readers.of(input), form };
  }
  const path = fieldsOf(input, rule.body, `${rule.source}: body`);
  const desc = path.at(-1)!;
  if (desc.fieldKind === 'message' && desc.message.typeName === httpBody) return { kind: 'raw', path };
  const hasFields = desc.fieldKind === 'message' && !hasOwnJsonForm(desc.message);
  const form = hasFields
    ? new Params(desc.message, readers, { source: 'form', within: path, ignoreUnknown })
    : undefined;
  return { kind: 'field', path, reader: compileFieldReader(desc, readers), form };
}

/**
 * The fields along the path that a rule names: `book`, or `request.book`.
 * @param place of the path, for messages
 * @throws SchemaError
 */
export function fieldsOf(message: DescMessage, path: string, place: string): DescField[] {
  try {
    return resolveFields(message, path.split('.'));
  } catch (error) {
    if (!(error instanceof UnboundPath)) throw error;
    throw new SchemaError(`${place} "${path}" is no field of ${message.typeName}: ${error.message}`, { cause: error });
  }
}

function pathVariable(
  input: DescMessage,
  variable: PathVariable,
  rule: FlatRule,
  bodyPath: readonly DescField[] | '*' | undefined,
  readers: MessageReaders,
): Variable {
  const name = variable.fieldPath.join('.');
  try {
    const path = resolveFields(input, variable.fieldPath);
    const isList = path.at(-1)!.fieldKind === 'list';
    if (isList && variable.multi) throw new UnboundPath('it is repeated, and takes several segments');
    if (Array.isArray(bodyPath) && path.length <= bodyPath.length && path.every((one, at) => one === bodyPath[at])) {
      throw new UnboundPath('the body sets this field');
    }
    return { variable, field: textField(path, readers), name, isList };
  } catch (error) {
    if (!(error instanceof UnboundPath)) throw error;
    throw new SchemaError(`${rule.source}: variable "${name}": ${error.message}`, { cause: error });
  }
}

/** @throws TranscodeError `INVALID_PATH` */
function addVariable(overlay: Overlay, { variable, field, name, isList }: Variable, raw: string): void {
  for (const item of isList ? raw.split(',') : [raw]) {
    const text = decodePercent(item, variable.multi);
    if (text === undefined) throw new TranscodeError('INVALID_PATH', `"${name}" is not percent-encoded UTF-8`, name);
    overlay.add(field, text, name);
  }
}

/** A rule without a body accepts none, or an empty object, which many clients send with every POST. */
function checkNoBody(body: Uint8Array): void {
  const text = body.length > 64 ? undefined : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  if (text !== undefined && /^\s*(\{\s*\})?\s*$/.test(text)) return;
  throw new TranscodeError('UNEXPECTED_BODY', 'this method takes no body');
}
