import { describe, expect, it } from 'vitest';
import { Http1Fault } from './fault.js';
import { HeadReader, type RequestHead } from './head-reader.js';

const newReader = () => new HeadReader(4096);

/** Reads a head as a connection does: the last one once more, or another. */
function read(reader: HeadReader, text: string, before = ''): { head: RequestHead; again: 'head' | 'fields' | 'no' } {
  const bytes = Buffer.from(`${before}${text}body`, 'latin1');
  const repeated = reader.repeated(bytes, before.length);
  const known = seen.get(reader);
  const head = repeated ?? reader.read(bytes, before.length, before.length + text.length);
  expect(reader.length).toBe(text.length);
  seen.set(reader, head);
  return { head, again: repeated === undefined ? 'no' : repeated === known ? 'head' : 'fields' };
}

const seen = new WeakMap<HeadReader, RequestHead>();

const head = (target: string, ...lines: string[]) =>
  `GET ${target} HTTP/1.1\r\nhost: a\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

describe('a connection’s heads', () => {
  it('are known again octet by octet, wherever they stand', () => {
    const reader = newReader();
    const first = read(reader, head('/one', 'x: 1'));
    const second = read(reader, head('/one', 'x: 1'), 'rest of a body');
    expect(first.again).toBe('no');
    expect(second.again).toBe('head');
    expect(second.head).toBe(first.head);
  });

  it.each([
    ['another target as long', head('/two', 'x: 1'), 'fields'],
    ['a longer target', head('/three', 'x: 1'), 'fields'],
    ['another method', head('/one', 'x: 1').replace('GET', 'PUT'), 'fields'],
    ['another value as long', head('/one', 'x: 2'), 'no'],
    ['a longer value', head('/one', 'x: 12'), 'no'],
    ['one field more', head('/one', 'x: 1', 'y: 2'), 'no'],
    ['another version', head('/one', 'x: 1').replace('HTTP/1.1', 'HTTP/1.0'), 'no'],
    ['no fields', 'GET /one HTTP/1.0\r\n\r\n', 'no'],
  ])('are read as if there had been none before: %s', (_, other, same) => {
    const reader = newReader();
    read(reader, head('/one', 'x: 1'));
    const { head: seen, again } = read(reader, other);
    expect(again).toBe(same);
    expect(seen).toEqual(newReader().read(Buffer.from(other), 0, other.length));
    expect(read(reader, other).again).toBe('head');
    expect(read(reader, head('/one', 'x: 1')).again).toBe(same);
  });

  it('of which only the line is another are bounded, too', () => {
    const reader = new HeadReader(56);
    const fields = `x: ${'a'.repeat(20)}`;
    read(reader, head('/one', fields));
    const longest = head(`/${'o'.repeat(8)}`, fields);
    expect(longest).toHaveLength(56 + '\r\n\r\n'.length);
    expect(reader.repeated(Buffer.from(longest), 0)).toBeDefined();
    expect(reader.repeated(Buffer.from(head(`/${'o'.repeat(9)}`, fields)), 0)).toBeUndefined();
  });

  it.each([
    ['no target', 'GET HTTP/1.1'],
    ['a LF alone', 'GET /\nx HTTP/1.1'],
    ['another protocol', 'GET / HTTP/3.0'],
  ])('are faults as they would be without one before: %s', (_, line) => {
    const reader = newReader();
    read(reader, head('/one', 'x: 1'));
    const text = head('/one', 'x: 1').replace('GET /one HTTP/1.1', line);
    const alone = () => newReader().read(Buffer.from(text), 0, text.length);
    expect(alone).toThrow(Http1Fault);
    expect(() => reader.repeated(Buffer.from(text), 0)).toThrow(Http1Fault);
  });

  it('share their fields when only the request lines differ', () => {
    const reader = newReader();
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
    const reader = newReader();
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
    const reader = newReader();
    const first = read(reader, text);
    const second = read(reader, text);
    expect(second.again).toBe('no');
    expect(second.head).toEqual(first.head);
    expect(read(reader, head('/one')).head).toEqual(
      newReader().read(Buffer.from(head('/one')), 0, head('/one').length),
    );
  });

  it('are forgotten when they should be', () => {
    const reader = newReader();
    read(reader, head('/one'));
    reader.forget();
    expect(read(reader, head('/one')).again).toBe('no');
  });
});
