import type { Position } from '../errors.js';

/** Line and column of a byte offset; a column counts characters. Only for errors: it reads the text from its start. */
export function positionOf(buf: Uint8Array, offset: number): Position {
  let line = 1;
  let lineStart = 0;
  for (let i = 0; i < offset; i++) {
    if (buf[i] === 0x0a) {
      line++;
      lineStart = i + 1;
    }
  }
  const column = Buffer.from(buf.buffer, buf.byteOffset + lineStart, offset - lineStart).toString().length + 1;
  return { offset, line, column };
}

/**
 * The member that encloses a byte offset, as `items[2].price`, or `undefined` at the top. The text before the offset
 * must be well-formed. Only for errors: the scanner keeps no path, so that correct requests do not pay for one.
 */
export function pathAt(buf: Uint8Array, offset: number): string | undefined {
  const path: (string | number)[] = [];
  let nameExpected = false;
  for (let i = 0; i < offset; i++) {
    switch (buf[i]) {
      case 0x7b: // {
        path.push('');
        nameExpected = true;
        break;
      case 0x5b: // [
        path.push(0);
        nameExpected = false;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        path.pop();
        break;
      case 0x2c: {
        // ,
        const top = path.at(-1);
        if (typeof top === 'number') path[path.length - 1] = top + 1;
        nameExpected = typeof top === 'string';
        break;
      }
      case 0x22: {
        // "
        const start = i++;
        while (i < offset && buf[i] !== 0x22) i += buf[i] === 0x5c ? 2 : 1;
        if (nameExpected) path[path.length - 1] = nameBetween(buf, start, Math.min(i + 1, offset));
        nameExpected = false;
        break;
      }
    }
  }
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (step !== '') text += text === '' ? step : `.${step}`;
    if (text.length > 200) return `${text.slice(0, 200)}…`;
  }
  return text === '' ? undefined : text;
}

function nameBetween(buf: Uint8Array, start: number, end: number): string {
  const quoted = Buffer.from(buf.buffer, buf.byteOffset + start, end - start).toString();
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted;
  }
}
