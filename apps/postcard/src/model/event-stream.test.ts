import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventData } from './event-stream.js';

async function read(chunks: readonly (string | Uint8Array)[]): Promise<string[]> {
  const encoder = new TextEncoder();
  async function* bytes() {
    for (const chunk of chunks) yield typeof chunk === 'string' ? encoder.encode(chunk) : chunk;
  }
  const found: string[] = [];
  for await (const data of eventData(bytes())) found.push(data);
  return found;
}

describe('eventData', () => {
  it.each([
    ['line feeds', 'data: a\n\ndata: b\n\n'],
    ['carriage returns with line feeds', 'data: a\r\n\r\ndata: b\r\n\r\n'],
    ['comments and other fields', ': hello\nevent: x\nid: 7\ndata: a\n\nretry: 5\n\ndata:b\n\n'],
  ])('reads %s', async (_, text) => {
    expect(await read([text])).toEqual(['a', 'b']);
  });

  it('joins the lines of one event, and takes one space only', async () => {
    expect(await read(['data: a\ndata:  b\n\n'])).toEqual(['a\n b']);
  });

  it('gives the same however the bytes are cut, in the middle of a character as well', async () => {
    const whole = new TextEncoder().encode('data: {"t":"café ☕"}\r\n\r\ndata: b\n\n');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(whole.length)), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = at.slice(1).map((end, index) => whole.subarray(at[index], end));
        expect(await read(chunks)).toEqual(['{"t":"café ☕"}', 'b']);
      }),
    );
  });

  it('drops an event that was cut off', async () => {
    expect(await read(['data: a\n\ndata: b'])).toEqual(['a']);
  });

  it('refuses a line without an end', async () => {
    await expect(read(Array.from({ length: 20 }, () => 'x'.repeat(100_000)))).rejects.toThrow(/too long/);
  });
});
