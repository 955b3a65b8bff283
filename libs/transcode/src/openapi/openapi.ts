import type { DescField, DescMessage, JsonObject } from '@bufbuild/protobuf';
import type { Binding } from '../binding.js';
import { hasOwnJsonForm } from '../mapping/field.js';
import { commentOf } from './comments.js';
import { openApiPath } from './path.js';
import type { OpenApiPath } from './path.js';
import { Schemas, nameOf } from './schemas.js';

export interface OpenApiOptions {
  title: string;
  version: string;
  description?: string;
  /** Members to add to an operation, such as `security`. */
  operation?: (binding: Binding) => JsonObject;
  securitySchemes?: JsonObject;
}

const httpBody = 'google.api.HttpBody';
/** The methods that a path item can have and a rule for any method stands for. */
const anyMethod = ['get', 'put', 'post', 'delete', 'patch'];
const knownMethods = new Set([...anyMethod, 'head', 'options', 'trace']);
/** How deep messages are spread into query parameters. */
const queryDepthMax = 4;

/**
 * Describes bindings as an OpenAPI 3.1 document, with the comments of the proto files where the descriptor set has them.
 * Rules with an HTTP method that OpenAPI does not know are left out.
 */
export function openapi(bindings: readonly Binding[], options: OpenApiOptions): JsonObject {
  const schemas = new Schemas();
  const paths: Record<string, JsonObject> = {};
  const byShape = new Map<string, OpenApiPath>();
  const ids = new Set<string>();
  const tags = new Map<string, string>();
  for (const binding of bindings) {
    const methods = binding.httpMethod === '*' ? anyMethod : [binding.httpMethod.toLowerCase()];
    const own = openApiPath(binding.template);
    // Paths that differ in the names of parameters alone are one: the first names them.
    const path = byShape.get(own.shape) ?? own;
    byShape.set(own.shape, path);
    for (const method of methods) {
      if (!knownMethods.has(method)) continue;
      const item = (paths[path.text] ??= {});
      if (binding.httpMethod === '*' && method in item) continue;
      item[method] = { ...operation(binding, own, path, schemas, ids), ...options.operation?.(binding) };
    }
    const { parent } = binding.method.desc;
    tags.set(parent.typeName, commentOf(parent));
  }
  const { title, version, description } = options;
  return {
    openapi: '3.1.0',
    info: { title, version, ...(description !== undefined && { description }) },
    tags: [...tags].map(([name, text]) => ({ name, ...(text !== '' && { description: text }) })),
    paths,
    components: {
      schemas: { ...schemas.components, Problem: problem },
      responses: {
        Problem: {
          description: 'What went wrong',
          content: { 'application/problem+json': { schema: problemReference } },
        },
      },
      ...(options.securitySchemes && { securitySchemes: options.securitySchemes }),
    },
  };
}

const problemReference = { $ref: '#/components/schemas/Problem' };

/** RFC 9457 with members of our own. */
const problem: JsonObject = {
  type: 'object',
  required: ['type', 'title', 'status', 'code'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
    grpc_status: { type: 'string' },
    details: { type: 'object' },
    trace_id: { type: 'string' },
  },
};

function operation(
  binding: Binding,
  own: OpenApiPath,
  path: OpenApiPath,
  schemas: Schemas,
  ids: Set<string>,
): JsonObject {
  const { method } = binding;
  const comment = commentOf(method.desc);
  // The first sentence, or the first paragraph when that ends before.
  const first = /^[^]*?(?:[.!?](?=\s)|$|\n\s*\n)/.exec(comment)?.[0] ?? '';
  const summary = first.trim().replaceAll('\n', ' ');
  const description = comment.slice(first.length).trim();
  const parameters = [...pathParameters(binding, own, path, schemas), ...queryParameters(binding, schemas)];
  const body = requestBody(binding, schemas);
  return {
    operationId: uniqueId(`${method.desc.parent.name}_${method.name}`, ids),
    tags: [method.service],
    ...(summary !== '' && { summary }),
    ...(description !== '' && { description }),
    ...(method.desc.deprecated && { deprecated: true }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: body }),
    responses: {
      '200': {
        description: 'OK',
        content: responseContent(binding, schemas),
      },
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function uniqueId(name: string, ids: Set<string>): string {
  let id = name;
  for (let count = 2; ids.has(id); count++) id = `${name}_${count}`;
  ids.add(id);
  return id;
}

function pathParameters(binding: Binding, own: OpenApiPath, path: OpenApiPath, schemas: Schemas): JsonObject[] {
  return own.parameters.map(({ variable, isRest }, index) => {
    const field = variable && fieldAt(binding.method.desc.input, variable.fieldPath);
    const isPart = variable !== undefined && (variable.multi || !field);
    const text = variable && isPart ? [`Part of \`${variable.fieldPath.join('.')}\`.`] : [];
    if (isRest) text.push('It may contain slashes.');
    const comment = field ? commentOf(field) : '';
    const description = [comment, ...text].filter(Boolean).join('\n');
    return {
      name: path.parameters[index]!.name,
      in: 'path',
      required: true,
      ...(description !== '' && { description }),
      schema: field && !isPart ? schemas.value(field, binding.json) : { type: 'string' },
    };
  });
}

function fieldAt(message: DescMessage, names: readonly string[]): DescField | undefined {
  let desc: DescMessage | undefined = message;
  let field: DescField | undefined;
  for (const name of names) {
    field = desc?.fields.find((one) => one.name === name || one.jsonName === name);
    desc = field?.message;
  }
  return field;
}

/** The fields that neither path nor body sets. */
function queryParameters(binding: Binding, schemas: Schemas): JsonObject[] {
  if (binding.body === '*') return [];
  const bound = boundPaths(binding);
  const collect = (
    desc: DescMessage,
    prefix: string,
    protoPrefix: string,
    above: readonly DescMessage[],
  ): JsonObject[] =>
    desc.fields.flatMap((field): JsonObject[] => {
      const protoPath = protoPrefix + field.name;
      if (bound.has(protoPath) || protoPath === binding.body || field.fieldKind === 'map') return [];
      const name = prefix + nameOf(field, binding.json);
      if (field.message && !hasOwnJsonForm(field.message)) {
        const isTooDeep = above.length >= queryDepthMax || above.includes(field.message);
        if (field.fieldKind === 'list' || isTooDeep) return [];
        return collect(field.message, `${name}.`, `${protoPath}.`, [...above, field.message]);
      }
      if (field.message?.typeName === 'google.protobuf.Any') return [];
      const { description, ...schema } = schemas.field(field, binding.json);
      return [{ name, in: 'query', ...(description !== undefined && { description }), schema }];
    });
  const { input } = binding.method.desc;
  return input.typeName === httpBody ? [] : collect(input, '', '', [input]);
}

function boundPaths(binding: Binding): Set<string> {
  return new Set(binding.template.variables.map(({ fieldPath }) => fieldPath.join('.')));
}

function requestBody(binding: Binding, schemas: Schemas): JsonObject | undefined {
  const { input, methodKind } = binding.method.desc;
  if (binding.body === '') return undefined;
  const field = binding.body === '*' ? undefined : fieldAt(input, binding.body.split('.'));
  const type = field ? field.message : input;
  if (type?.typeName === httpBody && field?.fieldKind !== 'list') return { content: { '*/*': { schema: {} } } };
  const isStream = methodKind === 'client_streaming' || methodKind === 'bidi_streaming';
  const schema = field ? schemas.value(field, binding.json) : wholeBody(binding, schemas);
  return { required: true, content: { [isStream ? 'application/x-ndjson' : 'application/json']: { schema } } };
}

/** The request message without the fields that the path sets. */
function wholeBody(binding: Binding, schemas: Schemas): JsonObject {
  const { input } = binding.method.desc;
  const bound = boundPaths(binding);
  const rest = input.fields.filter((field) => !bound.has(field.name));
  return rest.length === input.fields.length
    ? schemas.message(input, binding.json)
    : schemas.object(input, rest, binding.json);
}

function responseContent(binding: Binding, schemas: Schemas): JsonObject {
  const { output, methodKind } = binding.method.desc;
  const field = binding.responseBody === '' ? undefined : fieldAt(output, binding.responseBody.split('.'));
  const type = field ? field.message : output;
  if (type?.typeName === httpBody && field?.fieldKind !== 'list') return { '*/*': { schema: {} } };
  const schema = field ? schemas.value(field, binding.json) : schemas.message(output, binding.json);
  if (methodKind === 'unary' || methodKind === 'client_streaming') return { 'application/json': { schema } };
  if (binding.envelope === 'result') {
    const enveloped = { schema: { type: 'object', properties: { result: schema } } };
    return { 'application/json': enveloped, 'application/x-ndjson': enveloped, 'text/event-stream': enveloped };
  }
  return {
    'application/x-ndjson': { schema },
    'text/event-stream': { schema },
    'application/json': { schema: { type: 'array', items: schema } },
  };
}
