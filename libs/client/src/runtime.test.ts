import { expect, test } from 'vitest';
import { headerFields, Utf8Decoder } from './runtime.js';

test('UTF-8 in any pieces is what the platform makes of it', () => {
  const texts = ['grüß dich', '你好,小程序', 'a😀b', '', '\u0000\u007f\u0080\u07ff\u0800\uffff'];
  const octets = [
    ...texts.map((text) => new TextEncoder().encode(text)),
    ...[[0xff], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0x80], [0xf4, 0x90, 0x80, 0x80]].map((wrong) =>
      Uint8Array.from([0x61, ...wrong, 0x62]),
    ),
    Uint8Array.from([0xe4, 0xbd]),
  ];
  for (const whole of octets) {
    // How many U+FFFD stand for what is wrong differs; what is right does not.
    const expected = new TextDecoder('utf-8', { ignoreBOM: true }).decode(whole).replace(/\ufffd+/g, '\ufffd');
    for (let size = 1; size <= 4; size++) {
      const decoder = new Utf8Decoder();
      let text = '';
      for (let at = 0; at < whole.length; at += size)
        text += decoder.decode(whole.slice(at, at + size), { stream: true });
      expect((text + decoder.decode()).replace(/\ufffd+/g, '\ufffd')).toBe(expected);
    }
  }
});

test('header fields of every form are one object', () => {
  const expected = { accept: 'a, b', 'x-one': '1' };
  expect(
    headerFields(
      new Headers([
        ['Accept', 'a'],
        ['accept', 'b'],
        ['X-One', '1'],
      ]),
    ),
  ).toEqual(expected);
  expect(
    headerFields([
      ['Accept', 'a'],
      ['accept', 'b'],
      ['X-One', '1'],
    ]),
  ).toEqual(expected);
  expect(headerFields({ Accept: 'a, b', 'X-One': '1' })).toEqual(expected);
  expect(headerFields(undefined)).toEqual({});
});
