/** Text of octets 0 to 255: each character is one octet. Short text is faster without leaving JavaScript. */
const SHORT = 24;

export function readLatin1(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > SHORT) return (bytes as Buffer).toString('latin1', start, end);
  let text = '';
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

/** Returns the offset after the text. Characters above 255 must have been refused before. */
export function writeLatin1(target: Buffer, at: number, text: string): number {
  const length = text.length;
  if (length > SHORT) return at + target.write(text, at, length, 'latin1');
  for (let index = 0; index < length; index++) target[at++] = text.charCodeAt(index);
  return at;
}
