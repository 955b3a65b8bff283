import { describe, expect, test } from 'vitest';
import { readEmail, readEmailPrefix } from './email.js';

const key = (text: string) => readEmail(text).key;

test.each([
  ['case', 'Ada.Lovelace@Example.COM', 'ada.lovelace@example.com'],
  ['a zero-width space', 'ada\u200b@example.com', 'ada@example.com'],
  ['a zero-width joiner and a byte order mark', '\ufeffa\u200dda@exam\u200cple.com', 'ada@example.com'],
  ['marks of direction', '\u202eada\u202c@example.com\u200f', 'ada@example.com'],
  ['a soft hyphen', 'a\u00adda@example.com', 'ada@example.com'],
  ['a selector of variants', 'ada\ufe0f@example.com', 'ada@example.com'],
  ['an invisible filler', 'ada\u3164@example.com', 'ada@example.com'],
  ['full width', 'ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ', 'ada@example.com'],
  ['mathematical letters', '𝐚𝐝𝐚@example.com', 'ada@example.com'],
  ['the Kelvin sign and the long s', '\u212aa\u017f@example.com', 'kas@example.com'],
  ['decomposed letters', 'a\u0308da@example.com', '\u00e4da@example.com'],
  ['a final sigma', 'ΝΙΚΟΣ@example.com', 'νικος@example.com'],
  ['both small sigmas', 'νικοσ@example.com', 'νικος@example.com'],
  ['a sharp s', 'strasse@example.com', 'straße@example.com'],
  ['a dotless i', 'ıda@example.com', 'IDA@example.com'],
  ['a domain in Punycode', 'ada@xn--bcher-kva.example', 'ada@bücher.example'],
  ['a domain in other letters', 'ada@BÜCHER.example', 'ada@bu\u0308cher.example'],
  ['an ideographic full stop', 'ada@example。com', 'ada@example.com'],
])('%s makes no other address', (_name, one, other) => {
  expect(key(one)).toBe(key(other));
});

test.each([
  ['ada@example.com', 'ada@example.org'],
  ['ada@example.com', 'a.da@example.com'],
  ['ada+one@example.com', 'ada@example.com'],
  ['äda@example.com', 'ada@example.com'],
  ['ada@straße.example', 'ada@strasse.example'],
])('%s and %s are two', (one, other) => {
  expect(key(one)).not.toBe(key(other));
});

describe('the text that is shown', () => {
  test('is what was written, without what nobody sees', () => {
    expect(readEmail('Ada\u200b@Bücher.example').text).toBe('Ada@Bücher.example');
    expect(readEmail('Ａｄａ＠example.com').text).toBe('Ada@example.com');
  });
});

test.each([
  '',
  'ada',
  'ada@',
  '@example.com',
  '\u200b@example.com',
  'a b@example.com',
  'ada@example',
  'ada@@example.com',
  '.ada@example.com',
  'ada.@example.com',
  'a..da@example.com',
  'ada@-example.com',
  'ada@example..com',
  'ada@\u200b.com',
  'ada@xn--a.example.c',
  'a\ud800@example.com',
  `${'a'.repeat(250)}@example.com`,
  `${'ﷺ'.repeat(60)}@example.com`,
])('%j is no address', (text) => {
  expect(() => readEmail(text)).toThrow(expect.objectContaining({ details: { field: 'email' } }));
});

test('a beginning of an address is found however it is written', () => {
  const { key: whole } = readEmail('Νίκος.Παπ@Example.com');
  for (const text of ['ΝΊΚΟΣ', 'Νίκοσ.π', 'νίκος.παπ@', 'νίκος.παπ@EXAM'])
    expect(whole.startsWith(readEmailPrefix(text))).toBe(true);
});
