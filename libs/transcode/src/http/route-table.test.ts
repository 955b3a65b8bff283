import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Binding } from '../binding.js';
import { RouteTable } from './route-table.js';
import { parseTemplate } from './template.js';

/** A table of rules such as `GET /v1/{a}`; the table only reads the fields that a rule has here. */
function tableOf(...rules: string[]): RouteTable<string> {
  const table = new RouteTable<string>();
  for (const rule of rules) {
    const [httpMethod, path] = rule.split(' ');
    table.add({ httpMethod, template: parseTemplate(path!), source: rule } as unknown as Binding, rule);
  }
  return table;
}

function find(table: RouteTable<string>, request: string): string {
  const [method, path] = request.split(' ');
  const match = table.match(method!, path!);
  switch (match.kind) {
    case 'found':
      return [match.payload, ...match.variables].join(' | ');
    case 'not_found':
      return '404';
    case 'method_not_allowed':
      return `405 ${match.allow.join(',')}`;
  }
}

describe('precedence and capture', () => {
  const table = tableOf(
    'GET /',
    'GET /v1/books',
    'GET /v1/{name}',
    'GET /v1/{name=shelves/*}',
    'GET /v1/{name=shelves/*/books/*}',
    'GET /v1/{name=shelves/*/books/*}:read',
    'POST /v1/{name=shelves/*/books/*}:move',
    'DELETE /v1/{name=shelves/*/books/*}',
    'GET /v1/files/{path=**}',
    'GET /v1/files/{path=**}:stat',
    'GET /v1/files/index',
    'POST /v1/books:search',
    'PUT /v1/books/{id}',
    '* /v1/any',
    'GET /{a}/{b}/c',
    'GET /x/{b}/d',
    'GET /a%20b/{c}',
    'HEAD /v1/books',
  );

  test.each([
    ['GET /', 'GET /'],
    ['GET /v1/books', 'GET /v1/books'],
    ['GET /v1/b%6foks', 'GET /v1/books'],
    ['GET /v1/other', 'GET /v1/{name} | other'],
    ['GET /v1/shelves/1', 'GET /v1/{name=shelves/*} | shelves/1'],
    ['GET /v1/shelves/1/books/2', 'GET /v1/{name=shelves/*/books/*} | shelves/1/books/2'],
    ['GET /v1/shelves/1/books/2:read', 'GET /v1/{name=shelves/*/books/*}:read | shelves/1/books/2'],
    ['POST /v1/shelves/1/books/2:move', 'POST /v1/{name=shelves/*/books/*}:move | shelves/1/books/2'],
    ['GET /v1/shelves/1/books/2:unknown', 'GET /v1/{name=shelves/*/books/*} | shelves/1/books/2:unknown'],
    ['GET /v1/shelves/1/books/urn:isbn:2', 'GET /v1/{name=shelves/*/books/*} | shelves/1/books/urn:isbn:2'],
    ['GET /v1/shelves/1/books/2%3Aread', 'GET /v1/{name=shelves/*/books/*} | shelves/1/books/2%3Aread'],
    ['GET /v1/shelves/1/books/2:move', 'GET /v1/{name=shelves/*/books/*} | shelves/1/books/2:move'],
    ['DELETE /v1/shelves/1/books/2', 'DELETE /v1/{name=shelves/*/books/*} | shelves/1/books/2'],
    ['GET /v1/files/a/b/c', 'GET /v1/files/{path=**} | a/b/c'],
    ['GET /v1/files/a%2Fb/c', 'GET /v1/files/{path=**} | a%2Fb/c'],
    ['GET /v1/files', 'GET /v1/files/{path=**} | '],
    ['GET /v1/files/', 'GET /v1/files/{path=**} | '],
    ['GET /v1/files//x', 'GET /v1/files/{path=**} | /x'],
    ['GET /v1/files/a/b:stat', 'GET /v1/files/{path=**}:stat | a/b'],
    ['GET /v1/files/index', 'GET /v1/files/index'],
    ['POST /v1/books:search', 'POST /v1/books:search'],
    ['GET /v1/books:search', 'GET /v1/{name} | books:search'],
    ['PUT /v1/books/7', 'PUT /v1/books/{id} | 7'],
    ['PROPFIND /v1/any', '* /v1/any'],
    ['HEAD /v1/books', 'HEAD /v1/books'],
    ['GET /x/y/c', 'GET /{a}/{b}/c | x | y'],
    ['GET /x/y/d', 'GET /x/{b}/d | y'],
    ['GET /a%20b/1', 'GET /a%20b/{c} | 1'],
    ['GET /v1/%ff', 'GET /v1/{name} | %ff'],
    ['GET /v1/..', 'GET /v1/{name} | ..'],
    ['POST /v1/books', '405 GET,HEAD'],
    ['PATCH /v1/shelves/1/books/2', '405 DELETE,GET'],
    ['PUT /v1/shelves/1/books/2:move', '405 DELETE,GET,POST'],
    ['GET /v2', '404'],
    ['GET /v1', '404'],
    ['GET /v1/', '404'],
    ['GET /v1/shelves//books/2', '404'],
    ['GET v1', '404'],
    ['OPTIONS *', '404'],
    ['GET ', '404'],
    ['GET /V1/books', '404'],
    ['GET /v1/books/', '404'],
    ['GET /__proto__', '404'],
  ])('%s → %s', (request, expected) => {
    expect(find(table, request)).toBe(expected);
  });
});

test.each([
  ['GET /v1/{a}', 'GET /v1/{b}'],
  ['GET /v1/{a=x/*}', 'GET /v1/x/{b}'],
  ['GET /v1/{a=**}', 'GET /v1/**'],
  ['GET /v1/{a}:go', 'GET /v1/*:go'],
  ['GET /v1/a%20b', 'GET /v1/a%20b'],
  ['* /v1/a', '* /v1/a'],
])('refuses %s beside %s and names both', (first, second) => {
  expect(() => tableOf(first, second)).toThrow(`two rules match the same requests: ${first} and ${second}`);
});

test('a literal is found however many wildcards stand beside it, in any order of adding', () => {
  const rules = ['GET /a/b/c', 'GET /a/{x}/c', 'GET /a/b/{x}', 'GET /{x}/b/c', 'GET /{x=**}'];
  fc.assert(
    fc.property(fc.shuffledSubarray(rules, { minLength: rules.length }), (order) => {
      const table = tableOf(...order);
      expect(find(table, 'GET /a/b/c')).toBe('GET /a/b/c');
      expect(find(table, 'GET /a/z/c')).toBe('GET /a/{x}/c | z');
      expect(find(table, 'GET /a/b/z')).toBe('GET /a/b/{x} | z');
      expect(find(table, 'GET /z/b/c')).toBe('GET /{x}/b/c | z');
      expect(find(table, 'GET /z/z/z')).toBe('GET /{x=**} | z/z/z');
    }),
  );
});

test('never throws, whatever the path', () => {
  const table = tableOf('GET /v1/{a}/b', 'GET /v1/{a=**}:go', 'POST /v1/x');
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'/v1%2fF:go*ab.é') }), (path) => void find(table, `GET ${path}`)),
  );
});

describe('what peers take beyond http.proto', () => {
  const table = tableOf(
    'GET /v1/{name=**}/history',
    'GET /v1/{name=**}/{id}/history',
    'GET /v1/{name=**}',
    'GET /v1/{name=projects/**/items/*}:read',
    'GET /a/{x=**}/b/{y}/{z=c/*}',
    'POST /:verb',
    'POST /things/{id}:batch:start',
    'POST /things/{id}:start',
    'POST /things:all/x',
  );
  test.each([
    ['GET /v1/a/history', 'GET /v1/{name=**}/{id}/history |  | a'],
    ['GET /v1/history', 'GET /v1/{name=**}/history | '],
    ['GET /v1/a/b/c/history', 'GET /v1/{name=**}/{id}/history | a/b | c'],
    ['GET /v1/a/b/past', 'GET /v1/{name=**} | a/b/past'],
    ['GET /v1', 'GET /v1/{name=**} | '],
    ['GET /v1/projects/a/b/items/2:read', 'GET /v1/{name=projects/**/items/*}:read | projects/a/b/items/2'],
    ['GET /v1/projects/items/2:read', 'GET /v1/{name=projects/**/items/*}:read | projects/items/2'],
    ['GET /a/1/2/b/3/c/4', 'GET /a/{x=**}/b/{y}/{z=c/*} | 1/2 | 3 | c/4'],
    ['GET /a/b/3/c/4', 'GET /a/{x=**}/b/{y}/{z=c/*} |  | 3 | c/4'],
    ['GET /a/b/c/4', '404'],
    ['POST /:verb', 'POST /:verb'],
    ['POST /:v%65rb', 'POST /:verb'],
    ['POST /x/:verb', '404'],
    ['POST /:other', '404'],
    ['POST /things/1:batch:start', 'POST /things/{id}:batch:start | 1'],
    ['POST /things/1:start', 'POST /things/{id}:start | 1'],
    ['POST /things/a:b:start', 'POST /things/{id}:start | a:b'],
    ['POST /things/a:batch%3Astart', 'POST /things/{id}:batch:start | a'],
    ['POST /things:all/x', 'POST /things:all/x'],
  ])('%s', (request, expected) => {
    expect(find(table, request)).toBe(expected);
  });

  test('a `**` takes what one rule by itself would take, wherever it stands', () => {
    const word = fc.constantFrom('a', 'b', 'c');
    const shape = fc.tuple(
      fc.array(word, { maxLength: 3 }),
      fc.array(fc.oneof(word, fc.constant('*')), { maxLength: 3 }),
    );
    fc.assert(
      fc.property(shape, fc.array(word, { maxLength: 7 }), ([before, after], path) => {
        const table = tableOf(`GET /${[...before, '{x=**}', ...after].join('/')}`);
        const middle = path.slice(before.length, path.length - after.length);
        const fits =
          path.length >= before.length + after.length &&
          before.every((text, index) => path[index] === text) &&
          after.every((text, index) => text === '*' || path[path.length - after.length + index] === text);
        const found = table.match('GET', `/${path.join('/')}`);
        expect(found.kind === 'found' ? found.variables[0] : undefined).toBe(fits ? middle.join('/') : undefined);
      }),
      { numRuns: 1000 },
    );
  });

  test('many colons and segments cost little', () => {
    expect(find(table, `POST /things/${':'.repeat(100_000)}`)).toBe('404');
    expect(find(table, `GET /v1${'/a'.repeat(100_000)}:read`)).toContain('{name=**}');
  });
});
