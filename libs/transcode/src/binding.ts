import { defaultDepthMax, depthLimit, printDepthMax, printOptions } from './codec.js';
import type { JsonOptions } from './codec.js';
import { SchemaError, TranscodeError } from './errors.js';
import { overridesBySelector, rulesOf, usable } from './http/rule.js';
import type { FlatRule, HttpRuleOverride, RuleFault, RulePlace } from './http/rule.js';
import { parseTemplate } from './http/template.js';
import type { PathTemplate } from './http/template.js';
import { MessagePrinters } from './print/message-printer.js';
import { MessageReaders } from './read/message-reader.js';
import { accepts } from './request/media-type.js';
import { RequestEncoder } from './request/request-encoder.js';
import { valueStream } from './request/request-stream.js';
import type { RequestStream } from './request/request-stream.js';
import { ResponseDecoder } from './response/response-decoder.js';
import { responseStream } from './response/response-stream.js';
import type { Envelope, ResponseStream } from './response/response-stream.js';
import type { MethodInfo, Schema } from './schema.js';
import type { Allocate } from './wire/allocate.js';

/** How the HTTP rules of a schema are compiled. */
export interface RouteOptions {
  /** Rules of a service config, by selector. */
  overrides?: readonly HttpRuleOverride[];
  /** Put before every path, without a trailing slash: `/billing`. */
  pathPrefix?: string;
  /** Leave out query parameters that name no field, instead of refusing the request. */
  ignoreUnknownQuery?: boolean;
  /** Query parameters that are not for the method, left out unless they name a field: exact names, or a beginning and `*`, as in `$*`. */
  systemParameters?: readonly string[];
  /** Leave out members of a JSON body, and names of enum values in it, that the schema does not have, instead of refusing the request. */
  ignoreUnknownMembers?: boolean;
  /** Methods whose query and form leave out parameters that name no field, as RFC 6749 section 3.2 asks of OAuth endpoints. */
  lenientParams?: (method: MethodInfo) => boolean;
  /** What methods without a rule get: nothing, or `POST /pkg.Service/Method` with body `*`. `none` by default. */
  unannotated?: 'none' | 'post';
  /** Full names of the services to compile; all of them by default. */
  services?: readonly string[];
  json?: JsonOptions;
  /** What the messages of a response stream stand in. `none` by default. */
  envelope?: Envelope;
  /** How many messages of a request may be within one another, 1 to 1000. 100 by default, as in protobuf; answers may nest three times as deep. */
  maxDepth?: number;
  /** Where messages and JSON texts are put; `Buffer.allocUnsafe` by default. */
  allocate?: Allocate;
}

/** The parts of an HTTP request that become a message. */
export interface RequestParts {
  /** As `RouteTable.match` returned them. */
  variables: readonly string[];
  /** Without the question mark; empty when there is none. */
  query: string;
  /** The header's value; absent counts as JSON. */
  contentType: string | undefined;
  body: Uint8Array | undefined;
}

/** A message as the body of an HTTP response. */
export interface ResponseBody {
  contentType: string;
  /** Of a `google.api.HttpBody` it is a part of the message's own memory. */
  body: Uint8Array;
}

/** One HTTP rule of a method, compiled. */
export interface Binding {
  readonly method: MethodInfo;
  /** In upper case; `*` for any. */
  readonly httpMethod: string;
  readonly template: PathTemplate;
  /** File, method and rule, for messages to the operator. */
  readonly source: string;
  /** Which of the overrides it is; undefined: an annotation, or the default. */
  readonly place: RulePlace | undefined;
  /** Whether the rule has a body. */
  readonly takesBody: boolean;
  /** The rule's `body`: `*`, a field, or empty. */
  readonly body: string;
  /** The rule's `response_body`: a field, or empty for the whole message. */
  readonly responseBody: string;
  /** How its messages are printed. */
  readonly json: Required<JsonOptions>;
  /** What the messages of a response stream stand in. */
  readonly envelope: Envelope;
  /**
   * Builds the request message of a unary or server-streaming method.
   * @throws TranscodeError with a 4xx status
   */
  encodeRequest(parts: RequestParts): Uint8Array;
  /**
   * Prints the response message of a unary or client-streaming method.
   * @throws TranscodeError `INVALID_MESSAGE`
   */
  decodeResponse(message: Uint8Array): ResponseBody;
  /** Whether a client with this Accept header takes the response of a method that answers once. What a `google.api.HttpBody` is, only the answer says. */
  answersAcceptably(accept: string | undefined): boolean;
  /**
   * Begins the request of a client-streaming or bidirectional method. Path and query are part of every message.
   * @param itemBytesMax a longer item is refused
   * @throws TranscodeError with a 4xx status
   */
  openRequestStream(parts: Omit<RequestParts, 'body'>, itemBytesMax: number): RequestStream;
  /**
   * Begins the response of a server-streaming or bidirectional method.
   * @param accept value of the Accept header
   * @throws TranscodeError `NOT_ACCEPTABLE`
   */
  openResponseStream(accept: string | undefined): ResponseStream;
}

/**
 * Compiles the HTTP rules of a schema.
 * @throws SchemaError that names file, method and rule of everything that cannot be used
 */
export function compileBindings(schema: Schema, options: RouteOptions = {}): Binding[] {
  const { bindings, faults } = compileRules(schema, options);
  if (faults.length > 0) throw new SchemaError(faults.map(({ message }) => message).join('\n'));
  return bindings;
}

/**
 * As {@link compileBindings}: the rules that can be used, and what is wrong with the others.
 * @throws SchemaError for options that are none
 */
export function compileRules(
  schema: Schema,
  options: RouteOptions = {},
): { bindings: Binding[]; faults: readonly RuleFault[] } {
  checkOptions(schema, options);
  const faults: RuleFault[] = [];
  const { services } = options;
  const methods = [...schema.methods.values()].filter(({ service }) => !services || services.includes(service));
  const overrides = overridesBySelector(methods, options.overrides ?? [], (message, place) =>
    faults.push({ message, place, method: undefined }),
  );
  const readers = new MessageReaders(schema.registry, options.ignoreUnknownMembers);
  const printers = new MessagePrinters(schema.registry, printOptions(options.json));
  const bindings: Binding[] = [];
  for (const method of methods) {
    const onFault = (message: string, place?: RulePlace) => faults.push({ message, place, method });
    for (const rule of rulesOf(schema, method, overrides, options.unannotated ?? 'none', onFault)) {
      const make = () => compileBinding(method, rule, readers, printers, options);
      const binding = usable(rule.place, onFault, make);
      if (binding) bindings.push(binding);
    }
  }
  return { bindings, faults };
}

function checkOptions(schema: Schema, { services, maxDepth }: RouteOptions): void {
  const known = new Set([...schema.methods.values()].map((method) => method.service));
  const unknown = services?.find((service) => !known.has(service));
  if (unknown !== undefined) {
    throw new SchemaError(`${schema.origin}: services: "${unknown}" is none of ${[...known].join(', ')}`);
  }
  if (maxDepth !== undefined && !(Number.isInteger(maxDepth) && maxDepth >= 1 && maxDepth <= depthLimit)) {
    throw new SchemaError(`${schema.origin}: maxDepth: ${maxDepth} is not a whole number from 1 to ${depthLimit}`);
  }
}

function compileBinding(
  method: MethodInfo,
  rule: FlatRule,
  readers: MessageReaders,
  printers: MessagePrinters,
  options: RouteOptions,
): Binding {
  const template = templateOf(rule, options.pathPrefix ?? '');
  const { input, output } = method.desc;
  const depthMax = options.maxDepth ?? defaultDepthMax;
  const ignoreUnknownForm = options.lenientParams?.(method) ?? false;
  const ignoreUnknownQuery = ignoreUnknownForm || (options.ignoreUnknownQuery ?? false);
  const encoder = new RequestEncoder(input, output, rule, template, readers, {
    ignoreUnknownQuery,
    ignoreUnknownForm,
    isSystem: systemNames(options.systemParameters ?? []),
    depthMax,
    allocate: options.allocate,
  });
  const decoder = new ResponseDecoder(output, rule, printers, printDepthMax(depthMax), options.allocate);
  const envelope = options.envelope ?? 'none';
  const errorName = output.fields.some((field) => field.jsonName === 'error') ? '@error' : 'error';
  return {
    method,
    httpMethod: rule.httpMethod,
    template,
    source: rule.source,
    place: rule.place,
    takesBody: rule.body !== '',
    body: rule.body,
    responseBody: rule.responseBody,
    json: printOptions(options.json),
    envelope,
    encodeRequest: ({ variables, query, contentType, body }) =>
      encoder.encode(encoder.overlay(variables, query), contentType, body),
    decodeResponse: (message) => {
      if (!decoder.isRaw) return { contentType: 'application/json', body: decoder.json(message) };
      const { contentType, data } = decoder.raw(message);
      return { contentType, body: data };
    },
    answersAcceptably: (accept) => decoder.isRaw || accepts(accept, 'application/json'),
    openRequestStream: (parts, itemBytesMax) => openRequestStream(encoder, parts, itemBytesMax),
    openResponseStream: (accept) => responseStream(decoder, accept, { errorName, envelope }),
  };
}

function systemNames(patterns: readonly string[]): ((name: string) => boolean) | undefined {
  if (patterns.length === 0) return undefined;
  const names = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const beginnings = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  return (name) => names.has(name) || beginnings.some((beginning) => name.startsWith(beginning));
}

function templateOf(rule: FlatRule, prefix: string): PathTemplate {
  try {
    // `/` and `/:verb` are the prefix itself.
    return parseTemplate(
      prefix !== '' && /^\/(:|$)/.test(rule.path) ? prefix + rule.path.slice(1) : prefix + rule.path,
    );
  } catch (cause) {
    if (!(cause instanceof SchemaError)) throw cause;
    throw new SchemaError(`${rule.source}: ${cause.message}`, { cause });
  }
}

function openRequestStream(
  encoder: RequestEncoder,
  { variables, query, contentType }: Omit<RequestParts, 'body'>,
  itemBytesMax: number,
): RequestStream {
  const overlay = encoder.overlay(variables, query);
  switch (encoder.target.kind) {
    case 'none':
      return {
        held: 0,
        push: (chunk) => (encoder.encode(undefined, contentType, chunk), []),
        end: () => [encoder.encode(overlay, contentType, undefined)],
      };
    case 'raw': {
      let sent = false;
      const encode = (chunk?: Uint8Array): Uint8Array[] => {
        sent = true;
        return [encoder.encode(overlay, contentType, chunk)];
      };
      return {
        held: 0,
        push: (chunk) => (chunk.length === 0 ? [] : encode(chunk)),
        // An empty file has a name and a type all the same.
        end: () => (sent || (overlay === undefined && contentType === undefined) ? [] : encode()),
      };
    }
    default: {
      if (encoder.form(contentType) === 'form') {
        const text = 'a stream of requests is NDJSON, JSON values one after another, or an array of them';
        throw new TranscodeError('UNSUPPORTED_MEDIA_TYPE', `${text}; send "content-type: application/x-ndjson"`);
      }
      const encode = (value: Uint8Array): Uint8Array => encoder.encode(overlay, contentType, value);
      const whenEmpty = overlay && (() => encoder.encode(overlay, contentType, undefined));
      return valueStream(encode, whenEmpty, itemBytesMax, !encoder.readsArrays);
    }
  }
}
