import { describe, expect, it } from 'vitest';
import { HeadReader } from './head-reader.js';

/** Reads a head as a connection does: the last one once more, or another. */
function read(reader: HeadReader, text: string, before = ''): { head: ReturnType<HeadReader['read']>; again: boolean } {
  const bytes = Buffer.from(`${before}${text}body`, 'latin1');
  const repeated = reader.repeated(bytes, before.length);
  const head = repeated ?? reader.read(bytes, before.length, before.length + text.length);
  expect(reader.length).toBe(text.length);
  return { head, again: repeated !== undefined };
}

const head = (target: string, ...lines: string[]) =>
  `GET ${target} HTTP/1.1\r\nhost: a\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

describe('a connection’s heads', () => {
  it('are known again octet by octet, wherever they stand', () => {
    const reader = new HeadReader();
    const first = read(reader, head('/one', 'x: 1'));
    const second = read(reader, head('/one', 'x: 1'), 'rest of a body');
    expect(first.again).toBe(false);
    expect(second).toEqual({ head: first.head, again: true });
  });

  it.each([
    ['another target as long', head('/two', 'x: 1')],
    ['a longer target', head('/three', 'x: 1')],
    ['another value as long', head('/one', 'x: 2')],
    ['a longer value', head('/one', 'x: 12')],
    ['one field more', head('/one', 'x: 1', 'y: 2')],
    ['another version', head('/one', 'x: 1').replace('HTTP/1.1', 'HTTP/1.0')],
    ['no fields', 'GET /one HTTP/1.0\r\n\r\n'],
  ])('are read anew: %s', (_, other) => {
    const reader = new HeadReader();
    read(reader, head('/one', 'x: 1'));
    const { head: seen, again } = read(reader, other);
    expect(again).toBe(false);
    expect(seen).toEqual(new HeadReader().read(Buffer.from(other), 0, other.length));
    expect(read(reader, other).again).toBe(true);
    expect(read(reader, head('/one', 'x: 1')).again).toBe(false);
  });

  it('share their fields when only the request lines differ', () => {
    const reader = new HeadReader();
    const { section } = read(reader, head('/one', 'x: 1')).head;
    for (const target of ['/two', '/', '/a/long/one', '/one']) {
      const { head: seen } = read(reader, head(target, 'x: 1'));
      expect(seen.line.target).toBe(target);
      expect(seen.section).toBe(section);
    }
    expect(read(reader, head('/one', 'x: 2')).head.section.fields).toEqual([
      ['host', 'a'],
      ['x', '2'],
    ]);
  });

  it('are not the same when only their beginning has arrived', () => {
    const reader = new HeadReader();
    const text = head('/one');
    read(reader, text);
    for (let length = 0; length < text.length; length++) {
      expect(reader.repeated(Buffer.from(text.slice(0, length)), 0)).toBeUndefined();
    }
  });

  it.each([
    ['a long target', head(`/${'a'.repeat(600)}`)],
    ['long fields', head('/one', `x: ${'a'.repeat(3000)}`)],
  ])('are not kept: %s', (_, text) => {
    const reader = new HeadReader();
    const first = read(reader, text);
    const second = read(reader, text);
    expect(second.again).toBe(false);
    expect(second.head).toEqual(first.head);
    expect(read(reader, head('/one')).head).toEqual(
      new HeadReader().read(Buffer.from(head('/one')), 0, head('/one').length),
    );
  });

  it('are forgotten when they should be', () => {
    const reader = new HeadReader();
    read(reader, head('/one'));
    reader.forget();
    expect(read(reader, head('/one')).again).toBe(false);
  });
});
