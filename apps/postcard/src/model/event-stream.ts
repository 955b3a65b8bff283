/**
 * The `data` of server-sent events, one string an event.
 *
 * Fields other than `data` are of no use here and are skipped; lines end with LF, CR LF or CR.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 * @throws RangeError when a line grows beyond `lineCharactersMax`
 */
export async function* eventData(
  chunks: AsyncIterable<Uint8Array>,
  lineCharactersMax = 1_000_000,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    // A CR at the end may be half of a CR LF: it stays until more has come.
    const lines = rest.split(/\r\n|\n|\r(?=[^])/);
    rest = lines.pop()!;
    if (rest.length > lineCharactersMax) throw new RangeError('a line of the event stream is too long');
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield data.join('\n');
        data = [];
      } else if (line.startsWith('data:')) {
        data.push(line.slice(line.charAt(5) === ' ' ? 6 : 5));
      }
    }
  }
}
