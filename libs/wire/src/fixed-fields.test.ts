import { describe, expect, it } from 'vitest';
import { FixedFields } from './fixed-fields.js';
import { ending, After, writeLength } from './http1/response-head.js';

const text = (octets: Uint8Array) => Buffer.from(octets).toString('latin1');

describe('fields that responses begin with', () => {
  const fixed = new FixedFields([['content-type', 'text/plain']]);

  it('stand after the status, and are the same octets each time', () => {
    expect(text(fixed.http1Head(404))).toBe('HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n');
    expect(fixed.http1Head(404)).toBe(fixed.http1Head(404));
    expect(fixed.http2Head(404)).toBe(fixed.http2Head(404));
    expect(fixed.http2Head(404)).not.toEqual(fixed.http2Head(200));
  });

  it.each([
    ['a line end in a value', ['x', 'a\r\nb: c']],
    ['a colon in a name', ['x:', 'a']],
    ['a field of the connection', ['connection', 'close']],
  ] as const)('are refused at once: %s', (_, field) => {
    expect(() => new FixedFields([field])).toThrow(TypeError);
  });

  it('go with no status that is none', () => {
    for (const status of [0, 99, 600, 200.5, NaN]) {
      expect(() => fixed.http1Head(status)).toThrow(TypeError);
      expect(() => fixed.http2Head(status)).toThrow(TypeError);
    }
    // Switching protocols does not exist in HTTP/2 (RFC 9113 section 8.6).
    expect(() => fixed.http2Head(101)).toThrow(TypeError);
  });
});

describe('the rest of a head', () => {
  it.each([0, 1, 9, 10, 99, 100, 4095, 1_048_576, 2 ** 31, 2 ** 53 - 1])('has the length %d', (length) => {
    const page = Buffer.alloc(64);
    const end = writeLength(page, 3, length);
    expect(page.toString('latin1', 3, end)).toBe(`content-length: ${length}\r\n`);
  });

  it('says what time it is and what becomes of the connection', () => {
    const date = 'date: [A-Z][a-z]{2}, \\d\\d [A-Z][a-z]{2} \\d{4} \\d\\d:\\d\\d:\\d\\d GMT\\r\\n';
    expect(text(ending(After.PERSISTS))).toMatch(new RegExp(`^${date}\\r\\n$`));
    expect(text(ending(After.PERSISTS_1_0))).toMatch(new RegExp(`^${date}connection: keep-alive\\r\\n\\r\\n$`));
    expect(text(ending(After.CLOSES))).toMatch(new RegExp(`^${date}connection: close\\r\\n\\r\\n$`));
  });
});
