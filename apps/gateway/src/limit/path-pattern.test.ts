import { parseTemplate } from '@sluice/transcode';
import { describe, expect, it, test } from 'vitest';
import { canMatch, matchesPath, patternFault, segmentsOf } from './path-pattern.js';

describe('a path of a request', () => {
  it.each([
    ['/a/b', '/a/b', true],
    ['/a/b', '/a/%62', true],
    ['/a/%62', '/a/b', true],
    ['/.well-known/jwks.json', '/.well-known/%6awks.json', true],
    ['/a/b', '/a%2Fb', false],
    ['/a/*', '/a/b%2Fc', true],
    ['/a/*', '/a/b/c', false],
    ['/a/*', '/a/', false],
    ['/a/*', '/a', false],
    ['/a/**', '/a', true],
    ['/a/**', '/a/', true],
    ['/a/**', '/a//b', true],
    ['/a/**', '/ab', false],
    ['/**/c', '/a/b/c', true],
    ['/**/c', '/c', true],
    ['/**', '/', true],
    ['/', '/', true],
    ['/a', '/A', false],
    ['/a', '/a/', false],
    ['/a/b', '/a//b', false],
    ['/a/b', '/a/./b', false],
    ['/a/*/c', '/a/**/c', true],
    ['/a/%ff', '/a/%ff', true],
  ])('pattern %s, path %s: %s', (pattern, path, expected) => {
    expect(matchesPath(segmentsOf(pattern), segmentsOf(path))).toBe(expected);
  });

  test('takes no exponential time', () => {
    const pattern = segmentsOf(`${'/**/a'.repeat(12)}/z`);
    const began = performance.now();
    expect(matchesPath(pattern, segmentsOf('/a'.repeat(60)))).toBe(false);
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

it.each([
  ['/v1/files/*', '/v1/files/{path=**}', true],
  ['/v1/files', '/v1/files/{path=**}', true],
  ['/v1/*/x', '/v1/{a}/{b}', true],
  ['/v1/*/x', '/v1/{a}/y', false],
  ['/v1/**', '/v1/{a}/y', true],
  ['/v2/**', '/v1/{a}/y', false],
  ['/v1/a:go', '/v1/a:go', true],
  ['/v1/a', '/v1/a:go', false],
  ['/v1/*', '/v1/{a}:go', true],
  ['/**/y', '/v1/{a=**}', true],
])('pattern %s and template %s: %s', (pattern, template, expected) => {
  expect(canMatch(segmentsOf(pattern), parseTemplate(template))).toBe(expected);
});

it.each([
  ['v1/x', 'begins with a slash'],
  ['', 'begins with a slash'],
  ['/v1/{id}', '`*` in place of a variable'],
  ['/v1/x?y=1', 'without a query'],
  ['/v1/us*', 'as a whole segment'],
  ['/v1/*:cancel', 'under `rpcs`'],
  ['/v1/***', 'as a whole segment'],
])('refuses %s', (pattern, reason) => expect(patternFault(pattern)).toContain(reason));

it.each(['/', '/v1/*', '/**', '/v1/a%20b', '/pkg.Service/Method'])('takes %s', (pattern) =>
  expect(patternFault(pattern)).toBeUndefined(),
);
