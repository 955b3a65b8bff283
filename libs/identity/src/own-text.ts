/**
 * The text with memory of its own. What is cut out of a longer text keeps all of that alive: a token, the head of the request
 * that it came with.
 */
export function ownText(text: string): string {
  return Buffer.from(text).toString();
}
