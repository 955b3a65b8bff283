/**
 * Percent-decoding of RFC 3986 section 2.1.
 * @param keepSlash leave `%2F` and `%2f` as they are, as `http.proto` demands of variables over several segments
 * @returns `undefined` for a broken escape or bytes that are not UTF-8
 */
export function decodePercent(text: string, keepSlash: boolean): string | undefined {
  if (!text.includes('%')) return text;
  try {
    return keepSlash
      ? text
          .split(/(%2f)/i)
          .map((part, index) => (index % 2 === 1 ? part : decodeURIComponent(part)))
          .join('')
      : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
