import { describe, expect, it } from 'vitest';
import { ByHost, contradicts, coveredBy, hostnameOf } from './hosts.js';

it.each([
  ['API.Example.com', 'api.example.com'],
  ['api.example.com:8443', 'api.example.com'],
  ['api.example.com.', 'api.example.com'],
  ['api.example.com.:443', 'api.example.com'],
  ['[::1]:80', '[::1]'],
  ['[::1]', '[::1]'],
  ['127.0.0.1:80', '127.0.0.1'],
  ['', ''],
])('the host of %j is %j', (written, expected) => expect(hostnameOf(written)).toBe(expected));

it('the most specific pattern counts, and an asterisk stands for one label or more', () => {
  const names = new ByHost([
    ['a.example', 'itself'],
    ['*.example', 'below'],
    ['*.a.example', 'further below'],
  ]);
  expect(
    ['a.example', 'b.example', 'c.b.example', 'x.a.example', 'y.x.a.example'].map((name) => names.get(name)),
  ).toEqual(['itself', 'below', 'below', 'further below', 'further below']);
  expect(
    ['example', '.example', 'a.examples', 'evilexample', '', 'a.example.evil'].map((name) => names.get(name)),
  ).toEqual(Array.from({ length: 6 }, () => undefined));
});

it('a pattern covers what is below it, and itself', () => {
  expect(coveredBy('a.example', '*.example')).toBe(true);
  expect(coveredBy('*.a.example', '*.example')).toBe(true);
  expect(coveredBy('*.example', '*.example')).toBe(true);
  expect(coveredBy('*.example', 'a.example')).toBe(false);
  expect(coveredBy('example', '*.example')).toBe(false);
});

describe('a connection that was opened for a.example, whose certificate is for b.example too', () => {
  const handshake = { serverName: 'A.example', certificateIsFor: (name: string) => /^[ab]\.example$/.test(name) };
  it.each([
    ['a.example', 'HTTP/1.1', false],
    ['a.example', 'HTTP/2', false],
    ['b.example', 'HTTP/1.1', true],
    ['b.example', 'HTTP/2', false],
    ['c.example', 'HTTP/1.1', true],
    ['c.example', 'HTTP/2', true],
  ] as const)('%s over %s contradicts it: %s', (host, protocol, expected) => {
    expect(contradicts(host, handshake, protocol)).toBe(expected);
  });

  it('without a name in the handshake, or without TLS, nothing is contradicted', () => {
    expect(contradicts('c.example', { ...handshake, serverName: undefined }, 'HTTP/2')).toBe(false);
    expect(contradicts('c.example', undefined, 'HTTP/1.1')).toBe(false);
  });
});
