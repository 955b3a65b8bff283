import { problemError, SluiceError } from './error.js';
import { newDecoder } from './runtime.js';

/**
 * The messages of a streamed answer, as they arrive: NDJSON (`application/x-ndjson`) or server-sent events
 * (`text/event-stream`), by its content type. Leaving the loop early ends the call.
 *
 * @throws SluiceError the error that ended the stream, or `STREAM_INCOMPLETE` when events stop without their end
 */
export async function* messagesOf<T>(response: Response): AsyncGenerator<T, void, undefined> {
  const type = response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type === 'text/event-stream') yield* events<T>(response);
  else if (type === 'application/x-ndjson' || type === 'application/jsonl') yield* jsonLines<T>(response);
  else {
    await response.body?.cancel();
    throw new SluiceError('UNEXPECTED_ANSWER', `the answer is no stream of messages: ${type ?? 'no content type'}`, {
      status: response.status,
    });
  }
}

/** A line that has an error alone ends the stream with it. */
async function* jsonLines<T>(response: Response): AsyncGenerator<T, void, undefined> {
  for await (const line of linesOf(response)) {
    if (line === '') continue;
    const message = JSON.parse(line) as Record<string, unknown>;
    const error = loneError(message);
    if (error !== undefined) throw problemError(error, response.status);
    yield message as T;
  }
}

function loneError(message: Record<string, unknown>): Record<string, unknown> | undefined {
  if (message === null || typeof message !== 'object' || Object.keys(message).length !== 1) return undefined;
  const error = message['error'] ?? message['@error'];
  return typeof error === 'object' && error !== null && 'code' in error
    ? (error as Record<string, unknown>)
    : undefined;
}

/** Server-sent events (HTML standard, section 9.2): a message an event without a name, then `end` or `error`. */
async function* events<T>(response: Response): AsyncGenerator<T, void, undefined> {
  let name = '';
  let data: string[] = [];
  for await (const line of linesOf(response)) {
    if (line === '') {
      if (name === 'end') return;
      if (name === 'error') throw problemError(JSON.parse(data.join('\n')) as object, response.status);
      if (name === '' && data.length > 0) yield JSON.parse(data.join('\n')) as T;
      name = '';
      data = [];
      continue;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') name = value;
    else if (field === 'data') data.push(value);
  }
  throw new SluiceError('STREAM_INCOMPLETE', 'the stream broke off before its end', { status: response.status });
}

async function* linesOf(response: Response): AsyncGenerator<string, void, undefined> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  const decoder = newDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split(/\r\n|\n/);
      // A lone CR may be the first half of a line's end.
      rest = lines.pop() as string;
      yield* lines;
      if (!done) continue;
      if (rest !== '') yield rest;
      return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
