import { expect, test } from 'vitest';
import { baseUrlOf, urlBelow } from './base-url.js';

test('a base ends with one slash, and is told by its origin', () => {
  for (const given of ['https://Sluice.example:443/api/v1', 'https://sluice.example/api/v1/']) {
    expect(baseUrlOf(given, undefined)).toEqual({
      origin: 'https://sluice.example',
      text: 'https://sluice.example/api/v1/',
    });
  }
  expect(baseUrlOf('/api/v1', 'http://a:8083/page?x').text).toBe('http://a:8083/api/v1/');
  expect(() => baseUrlOf('https://a/?x=1', undefined)).toThrow('expected where the API begins');
});

const base = baseUrlOf('https://sluice.example/api/v1', undefined);

test.each([
  ['/me', 'https://sluice.example/api/v1/me'],
  ['me?a=b', 'https://sluice.example/api/v1/me?a=b'],
  ['allocations/a:free', 'https://sluice.example/api/v1/allocations/a:free'],
  ['https://SLUICE.example:443/other', 'https://SLUICE.example:443/other'],
  ['//evil.example/x', 'https://sluice.example/api/v1//evil.example/x'],
])('%s is below the base, or of its origin', (path, url) => {
  expect(urlBelow(base, path)).toBe(url);
});

test.each([
  'https://evil.example/api/v1/me',
  'http://sluice.example/me',
  'https://sluice.example@evil.example/',
  'https://evil.example\\@sluice.example/',
  'https://sluice.example.evil.example/',
  'https://sluice.example:8443/',
  'HTTPS://evil.example/',
])('%s gets no token', (path) => {
  expect(() => urlBelow(base, path)).toThrow("is not where this client's API is");
});

test.each(['ht\ntps://evil.example/', ' https://evil.example/', '\thttps://evil.example/'])(
  '%j stays at the API, as URL reads it too',
  (path) => {
    expect(new URL(urlBelow(base, path)).origin).toBe(base.origin);
  },
);
