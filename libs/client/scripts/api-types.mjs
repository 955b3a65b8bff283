/**
 * Writes src/generated/api.ts: the messages of the public contract as their JSON looks (snake_case, 64-bit integers and
 * times as text), and the routes by method and path. From the descriptor set, so that the client needs no package.
 *
 *   node libs/client/scripts/api-types.mjs            writes the file
 *   node libs/client/scripts/api-types.mjs --check    exits with 1 when it is not what the contract gives
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createFileRegistry, fromBinary, getOption, ScalarType } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const BASE = '/api/v1';
const descriptorSet = new URL('../../contract/descriptors/sluice.binpb', import.meta.url);
const target = new URL('../src/generated/api.ts', import.meta.url);

const LONG = new Set([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64]);
const WELL_KNOWN = {
  'google.protobuf.Timestamp': 'string',
  'google.protobuf.Duration': 'string',
  'google.protobuf.FieldMask': 'string',
  'google.protobuf.Struct': 'Record<string, unknown>',
  'google.protobuf.Value': 'unknown',
  'google.protobuf.Any': 'Record<string, unknown>',
  'google.protobuf.Empty': 'Record<string, never>',
  'google.api.HttpBody': 'string',
};

export function apiTypes(bytes) {
  const set = fromBinary(FileDescriptorSetSchema, bytes);
  const comments = commentsOf(set);
  const registry = createFileRegistry(set);
  const http = registry.getExtension('google.api.http');
  const routes = { unary: [], stream: [] };
  const requests = new Set();
  const responses = new Set();
  for (const service of sorted([...registry].filter(({ kind }) => kind === 'service'))) {
    if (!service.typeName.startsWith('sluice.')) continue;
    for (const method of service.methods) {
      const rule = getOption(method, http);
      if (method.methodKind !== 'unary' && method.methodKind !== 'server_streaming') continue;
      for (const { pattern } of [rule, ...rule.additionalBindings]) {
        if (!pattern.value?.startsWith?.(`${BASE}/`)) continue;
        const key = `${pattern.case.toUpperCase()} ${pattern.value.slice(BASE.length)}`;
        routes[method.methodKind === 'unary' ? 'unary' : 'stream'].push({ key, method });
        reach(method.input, requests);
        reach(method.output, responses);
      }
    }
  }
  const lines = [
    '// Generated from proto/ by scripts/api-types.mjs; not edited by hand.',
    '',
    '/** A 64-bit integer as text. */',
    'export type Int64 = string;',
    '',
  ];
  const areas = Map.groupBy(sorted([...new Set([...requests, ...responses])]), ({ file }) => file.proto.package);
  for (const [area, messages] of areas) {
    lines.push(`export declare namespace ${namespaceOf(area)} {`);
    for (const message of messages) {
      lines.push(...interfaceOf(message, requests.has(message) && !responses.has(message), comments));
    }
    lines.push('}', '');
  }
  for (const [kind, name, what] of [
    ['unary', 'UnaryRoutes', 'Calls with one answer'],
    ['stream', 'StreamRoutes', 'Calls whose answer comes in parts'],
  ]) {
    lines.push(`/** ${what}, by method and path under \`${BASE}\`. */`, `export interface ${name} {`);
    for (const { key, method } of routes[kind].toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
      lines.push(...doc(comments.get(`${method.parent.typeName}.${method.name}`)));
      lines.push(`'${key}': { request: ${nameOf(method.input)}; response: ${nameOf(method.output)} };`);
    }
    lines.push('}', '');
  }
  return lines.join('\n');
}

function sorted(descriptors) {
  return descriptors.toSorted((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

function reach(message, found) {
  if (found.has(message) || message.typeName in WELL_KNOWN) return;
  found.add(message);
  for (const field of message.fields) {
    if (field.message && field.fieldKind !== 'map') reach(field.message, found);
    else if (field.fieldKind === 'map' && field.mapKind === 'message') reach(field.message, found);
  }
}

function interfaceOf(message, isInput, comments) {
  return [
    ...doc(comments.get(message.typeName)),
    `interface ${localName(message)} {`,
    ...message.fields.flatMap((field) => {
      const isOptional = isInput || field.oneof || field.fieldKind === 'message' || field.proto.proto3Optional;
      return [
        ...doc(comments.get(`${message.typeName}.${field.name}`)),
        `${field.name}${isOptional ? '?' : ''}: ${typeOf(field, isInput)};`,
      ];
    }),
    '}',
  ];
}

function typeOf(field, isInput) {
  if (field.fieldKind === 'map') return `Record<string, ${valueType(field.mapKind, field, isInput)}>`;
  if (field.fieldKind === 'list') {
    const item = valueType(field.listKind, field, isInput);
    return item.includes('|') ? `(${item})[]` : `${item}[]`;
  }
  return valueType(field.fieldKind, field, isInput);
}

function valueType(kind, field, isInput) {
  if (kind === 'message') return nameOf(field.message);
  if (kind === 'enum') return field.enum.values.map(({ name }) => `'${name}'`).join(' | ');
  if (field.scalar === ScalarType.BOOL) return 'boolean';
  if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES) return 'string';
  if (LONG.has(field.scalar)) return isInput ? 'Int64 | number' : 'Int64';
  return 'number';
}

const namespaceOf = (area) => area.split('.')[1];
const localName = (message) => message.typeName.slice(message.file.proto.package.length + 1).replaceAll('.', '');
function nameOf(message) {
  return WELL_KNOWN[message.typeName] ?? `${namespaceOf(message.file.proto.package)}.${localName(message)}`;
}

function doc(text) {
  if (!text) return [];
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.trim());
  return lines.length === 1 ? [`/** ${lines[0]} */`] : ['/**', ...lines.map((line) => ` * ${line}`), ' */'];
}

/** Full name → leading comment. */
function commentsOf(set) {
  const comments = new Map();
  for (const file of set.file) {
    const at = new Map(
      (file.sourceCodeInfo?.location ?? []).map(({ path, leadingComments }) => [path.join('.'), leadingComments]),
    );
    const visit = (message, path, prefix) => {
      const name = `${prefix}.${message.name}`;
      comments.set(name, at.get(path));
      message.field.forEach((field, i) => comments.set(`${name}.${field.name}`, at.get(`${path}.2.${i}`)));
      message.nestedType.forEach((nested, i) => visit(nested, `${path}.3.${i}`, name));
    };
    file.messageType.forEach((message, i) => visit(message, `4.${i}`, file.package));
    file.service.forEach((service, i) =>
      service.method.forEach((method, j) =>
        comments.set(`${file.package}.${service.name}.${method.name}`, at.get(`6.${i}.2.${j}`)),
      ),
    );
  }
  return comments;
}

/** The file's text as it is committed. */
export async function apiFile(bytes = readFileSync(descriptorSet)) {
  const { format, resolveConfig } = await import('prettier');
  const file = fileURLToPath(target);
  return format(apiTypes(bytes), { ...(await resolveConfig(file)), filepath: file });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await apiFile();
  if (!process.argv.includes('--check')) writeFileSync(target, text);
  else if (readFileSync(target, 'utf8') !== text) {
    console.error('libs/client/src/generated/api.ts differs from proto/; run `npm run generate`');
    process.exitCode = 1;
  }
}
