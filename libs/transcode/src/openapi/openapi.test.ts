import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { schema } from '../../testdata/load.js';
import { compileBindings } from '../binding.js';
import { parseTemplate } from '../http/template.js';
import { openapi } from './openapi.js';
import { openApiPath } from './path.js';

const bindings = compileBindings(schema, { unannotated: 'post' });
const document = openapi(bindings, {
  title: 'Library',
  version: '1.2.3',
  operation: (binding): JsonObject => (binding.method.name === 'GetBook' ? { security: [] } : {}),
  securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
});

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string; required?: boolean; schema: JsonObject }[];
  requestBody?: { content: Record<string, { schema: JsonObject }> };
  responses: Record<string, { content: Record<string, { schema: JsonObject }> }>;
}
const paths = document['paths'] as unknown as Record<string, Record<string, Operation>>;
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.values(item).map((operation) => ({ path, operation })),
);

function references(value: JsonValue): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === '$ref' && typeof member === 'string' ? [member] : references(member),
  );
}

describe('structure', () => {
  test('head', () => {
    expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'Library', version: '1.2.3' } });
    expect(document['tags']).toEqual([
      { name: 'transcode.test.v1.Library', description: 'Books and the shelves they stand on.' },
      { name: 'transcode.test.v1.Profiles' },
    ]);
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });

  test('every reference leads somewhere', () => {
    for (const reference of new Set(references(document))) {
      const target = reference
        .slice(2)
        .split('/')
        .reduce<JsonValue | undefined>((value, name) => (value as JsonObject | undefined)?.[name], document);
      expect(target, reference).toBeDefined();
    }
    for (const name of Object.keys((document['components'] as JsonObject)['schemas'] as JsonObject)) {
      expect(name).toMatch(/^[a-zA-Z0-9._-]+$/);
    }
  });

  test('operation identifiers are unique, and every path parameter is declared once', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      const declared = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name);
      expect(declared).toEqual([...path.matchAll(/\{([^}]*)\}/g)].map((match) => match[1]));
    }
  });

  test('no two paths differ in the names of parameters alone', () => {
    const shapes = Object.keys(paths).map((path) => path.replace(/\{[^}]*\}/g, '{}'));
    expect(new Set(shapes).size).toBe(shapes.length);
  });
});

describe('content', () => {
  test('comments, identifiers and what the caller adds', () => {
    expect(paths['/v1/shelves/{shelves_id}/books/{books_id}']!['get']).toMatchObject({
      operationId: 'Library_GetBook',
      summary: 'Finds a book by its name.',
      description: 'The name has two parts.',
      security: [],
    });
    expect(paths['/v1/books/{name}']!['get']!.operationId).toBe('Library_GetBook_2');
  });

  test('parameters of the query, without what path and body set', () => {
    const names = (path: string, method: string): string[] =>
      (paths[path]![method]!.parameters ?? []).filter((one) => one.in === 'query').map((one) => one.name);
    expect(names('/v1/shelves/{parent}/books', 'post')).toEqual(['requestId']);
    expect(names('/v1/shelves/{shelves_id}/books/{books_id}:move', 'post')).toEqual([]);
    const list = names('/v1/shelves/{parent}/books', 'get');
    expect(list).toEqual(
      expect.arrayContaining(['pageSize', 'filter.title', 'filter.author.givenName', 'colors', 'since']),
    );
    expect(list.filter((name) => /^(parent|labels|filters|filter\.parent)/.test(name))).toEqual([]);
  });

  test('bodies and answers', () => {
    const move = paths['/v1/shelves/{shelves_id}/books/{books_id}:move']!['post']!;
    const body = move.requestBody!.content['application/json']!.schema;
    expect(Object.keys(body['properties'] as JsonObject)).toEqual(['destination', 'by']);
    expect(move.responses['200']!.content['application/json']!.schema).toEqual({
      $ref: '#/components/schemas/transcode.test.v1.Book',
    });
    const list = paths['/v1/shelves/{parent}/books']!['get']!;
    expect(list.responses['200']!.content['application/json']!.schema['type']).toBe('array');
    const watch = paths['/v1/shelves/{parent}/books:watch']!['get']!;
    expect(Object.keys(watch.responses['200']!.content)).toEqual([
      'application/x-ndjson',
      'text/event-stream',
      'application/json',
    ]);
    expect(Object.keys(paths['/v1/talk']!['post']!.requestBody!.content)).toEqual(['application/x-ndjson']);
    expect(Object.keys(paths['/v1/files/{path}']!['get']!.responses['200']!.content)).toEqual(['*/*']);
    expect(Object.keys(paths['/v1/raw']!)).toEqual(['get', 'put', 'post', 'delete', 'patch']);
  });

  test('kinds of fields', () => {
    const { schemas } = document['components'] as unknown as { schemas: Record<string, { properties: JsonObject }> };
    expect(schemas['transcode.test.v1.Scalars']!.properties).toMatchObject({
      int64Field: { type: 'string', format: 'int64' },
      uint32Field: { type: 'integer', minimum: 0 },
      bytesField: { type: 'string', contentEncoding: 'base64' },
      colorField: { $ref: '#/components/schemas/transcode.test.v1.Color' },
    });
    expect(schemas['transcode.test.v1.WellKnown']!.properties).toMatchObject({
      timestamp: { type: 'string', format: 'date-time' },
      int64Value: { type: ['string', 'null'], format: 'int64' },
      nullValue: { type: 'null' },
      values: { type: 'array', items: {} },
    });
    expect(schemas['transcode.test.v1.Choice']!.properties['left']).toMatchObject({
      description: 'Not together with `right`.',
    });
    expect(schemas['transcode.test.v1.Maps']!.properties['fixed64Scalars']).toEqual({
      type: 'object',
      additionalProperties: { $ref: '#/components/schemas/transcode.test.v1.Scalars' },
    });
  });

  test('names and enums as the options of each upstream print them', () => {
    const both = openapi(
      [...bindings, ...compileBindings(schema, { pathPrefix: '/raw', json: { protoNames: true, enumNumbers: true } })],
      {
        title: 'x',
        version: '1',
      },
    );
    const { schemas } = both['components'] as unknown as { schemas: Record<string, JsonObject> };
    expect(schemas['transcode.test.v1.Author']).toMatchObject({ properties: { givenName: {} } });
    expect(schemas['transcode.test.v1.Author_2']).toMatchObject({ properties: { given_name: {} } });
    expect(schemas['transcode.test.v1.Color_2']).toMatchObject({ type: 'integer', enum: [0, 1, 2, -1] });
  });
});

test.each([
  ['/v1/{name}', '/v1/{name}'],
  ['/v1/{a.b}', '/v1/{a.b}'],
  ['/v1/{parent=shelves/*}/books', '/v1/shelves/{parent}/books'],
  ['/v1/{name=shelves/*/books/*}:move', '/v1/shelves/{shelves_id}/books/{books_id}:move'],
  ['/v1/{name=*/*}', '/v1/{v1_id}/{segment}'],
  ['/v1/*/*', '/v1/{v1_id}/{segment}'],
  ['/v1/files/{path=**}', '/v1/files/{path}'],
  ['/', '/'],
])('%s is %s', (template, expected) => {
  expect(openApiPath(parseTemplate(template)).text).toBe(expected);
});
