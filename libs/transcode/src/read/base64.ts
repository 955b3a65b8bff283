import type { ProtoWriter } from '../wire/proto-writer.js';

/** Value of each base64 digit of RFC 4648 sections 4 and 5; 64 for other bytes. */
const values = new Uint8Array(256).fill(64);
for (const [index, digit] of [
  ...Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'),
].entries()) {
  values[digit] = index;
}
values['-'.charCodeAt(0)] = 62;
values['_'.charCodeAt(0)] = 63;

/**
 * Decodes base64 of either alphabet, with or without padding, and writes it with its length.
 * @returns whether it was base64
 */
export function writeBase64(w: ProtoWriter, buf: Uint8Array, start: number, stop: number): boolean {
  let end = stop;
  while (end > start && stop - end < 2 && buf[end - 1] === 0x3d) end--;
  if (end !== stop && (stop - start) % 4 !== 0) return false;
  const digits = end - start;
  if (digits % 4 === 1) return false;
  const length = Math.floor((digits * 3) / 4);
  w.varint32(length);
  w.ensure(length);
  const out = w.buf;
  let pos = w.pos;
  let bits = 0;
  let held = 0;
  for (let i = start; i < end; i++) {
    const value = values[buf[i]!]!;
    if (value === 64) return false;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      out[pos++] = bits >> held;
    }
  }
  w.pos = pos;
  return true;
}
