import { describe, expect, test } from 'vitest';
import { SchemaError } from '../errors.js';
import { parseTemplate } from './template.js';

describe('templates of http.proto', () => {
  test.each([
    ['/', [], '', []],
    ['/v1', ['v1'], '', []],
    ['/v1/{name}', ['v1', '*'], '', ['name 1-2']],
    ['/v1/{name=*}', ['v1', '*'], '', ['name 1-2']],
    ['/v1/{name=shelves/*}', ['v1', 'shelves', '*'], '', ['name 1-3 multi']],
    ['/v1/{name=shelves/*/books/*}:move', ['v1', 'shelves', '*', 'books', '*'], 'move', ['name 1-5 multi']],
    ['/v1/{path=**}', ['v1', '**'], '', ['path 1-2 multi']],
    ['/v1/{path=files/**}:copy', ['v1', 'files', '**'], 'copy', ['path 1-3 multi']],
    ['/v1/**', ['v1', '**'], '', []],
    ['/v1/*/x', ['v1', '*', 'x'], '', []],
    ['/v1/**/x', ['v1', '**', 'x'], '', []],
    ['/v1/{a=**}/{b}/c', ['v1', '**', '*', 'c'], '', ['a 1-2 multi', 'b 2-3']],
    ['/v1/{a=x/**/y}:z', ['v1', 'x', '**', 'y'], 'z', ['a 1-4 multi']],
    ['/:verb', [], 'verb', []],
    ['/v1:a/b', ['v1:a', 'b'], '', []],
    ['/v1:a:b', ['v1'], 'a:b', []],
    ['/v1/{a}:b:c', ['v1', '*'], 'b:c', ['a 1-2']],
    ['/v1/{a=urn:x/*}', ['v1', 'urn:x', '*'], '', ['a 1-3 multi']],
    ['/{a.b_c.d}/{e}', ['*', '*'], '', ['a.b_c.d 0-1', 'e 1-2']],
    ['/{a=x}', ['x'], '', ['a 0-1']],
    ['/v1:batch', ['v1'], 'batch', []],
    ['/a%20b/c.d~e', ['a b', 'c.d~e'], '', []],
    ['/.well-known/jwks.json', ['.well-known', 'jwks.json'], '', []],
  ])('%s', (source, segments, verb, variables) => {
    const template = parseTemplate(source);
    expect(template.segments.map((segment) => (segment.kind === 'literal' ? segment.text : segment.kind))).toEqual(
      segments,
    );
    expect(template.verb).toBe(verb);
    expect(
      template.variables.map(
        ({ fieldPath, start, end, multi }) => `${fieldPath.join('.')} ${start}-${end}${multi ? ' multi' : ''}`,
      ),
    ).toEqual(variables);
  });

  test.each([
    ['', 'starts with "/"'],
    ['v1', 'starts with "/"'],
    ['/v1/', 'empty segment'],
    ['//v1', 'empty segment'],
    ['/v1/{}', 'not a field path'],
    ['/v1/{name', 'expected "}"'],
    ['/v1/{name=}', 'empty segment'],
    ['/v1/{a={b}}', 'a variable inside a variable'],
    ['/v1/{1a}', 'not a field path'],
    ['/v1/{a..b}', 'not a field path'],
    ['/v1/{a}b', 'unexpected "b"'],
    ['/v1/a{b}', 'unexpected "{"'],
    ['/v1/a*', 'unexpected "*"'],
    ['/v1/***', 'unexpected "*"'],
    ['/v1/**/x/**', '"**" occurs twice'],
    ['/v1/{a=**}/{b=x/**}', '"**" occurs twice'],
    ['/v1/{a}:x/b', 'a verb must be at the end'],
    ['/v1/*:x/b', 'a verb must be at the end'],
    ['/v1/{a}/{a}', 'occurs twice'],
    ['/v1:', 'empty verb'],
    ['/v 1', 'not a valid segment'],
    ['/v%1', 'not a valid segment'],
    ['/v%ff', 'not valid UTF-8'],
    ['/v1?x=1', 'not a valid segment'],
  ])('refuses %s', (source, reason) => {
    expect(() => parseTemplate(source)).toThrow(SchemaError);
    expect(() => parseTemplate(source)).toThrow(reason);
  });
});
