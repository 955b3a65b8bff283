import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from './gateway.fixture.js';
import { createClient, type SluiceClient } from './index.js';

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startGateway();
});
afterEach(() => gateway.close());

async function signedIn(): Promise<SluiceClient> {
  const client = createClient({ baseUrl: gateway.baseUrl });
  await client.setSession(gateway.open());
  return client;
}

describe('a stream', () => {
  const route = 'POST /sessions/{session_id}/messages';
  const request = { session_id: 's', text: 'hello' };

  function answer(type: string, chunks: readonly string[]) {
    gateway.answer('POST /sessions/s/messages', async (_, response) => {
      response.writeHead(200, { 'content-type': type });
      for (const chunk of chunks) {
        response.write(chunk);
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });
  }

  async function parts(client: SluiceClient, form: 'ndjson' | 'sse'): Promise<(string | undefined)[]> {
    const texts: (string | undefined)[] = [];
    for await (const part of client.stream(route, request, { form })) texts.push(part.text);
    return texts;
  }

  test('of lines, wherever the chunks are cut', async () => {
    const client = await signedIn();
    const text = '{"text":"grüß"}\n{"text":"dich"}\r\n\n{"text":"!"}';
    const cuts = Array.from(Buffer.from(text), (byte) => Buffer.from([byte])) as unknown as string[];
    answer('application/x-ndjson', cuts);
    expect(await parts(client, 'ndjson')).toEqual(['grüß', 'dich', '!']);
  });

  test('of events', async () => {
    const client = await signedIn();
    answer('text/event-stream', [
      ': hi\n\n',
      'data: {"text":',
      '"a"}\n\ndata: {"text":\ndata: "b"}\n\n',
      'event: end\ndata: {}\n\n',
    ]);
    expect(await parts(client, 'sse')).toEqual(['a', 'b']);
  });

  test.each([
    ['ndjson', 'application/x-ndjson', '{"text":"a"}\n{"error":{"code":"BUDGET_EXHAUSTED","status":429}}\n'],
    [
      'sse',
      'text/event-stream',
      'data: {"text":"a"}\n\nevent: error\ndata: {"code":"BUDGET_EXHAUSTED","status":429}\n\n',
    ],
  ] as const)('an error after the first part, as %s', async (form, type, text) => {
    const client = await signedIn();
    answer(type, [text]);
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const part of client.stream(route, request, { form })) seen.push(part);
    })();
    await expect(reading).rejects.toMatchObject({ code: 'BUDGET_EXHAUSTED', status: 429 });
    expect(seen).toEqual([{ text: 'a' }]);
  });

  test('events that stop before their end are incomplete', async () => {
    const client = await signedIn();
    answer('text/event-stream', ['data: {"text":"a"}\n\n']);
    await expect(parts(client, 'sse')).rejects.toMatchObject({ code: 'STREAM_INCOMPLETE' });
  });

  test('a refusal before the first part, and an expired token', async () => {
    const client = await signedIn();
    gateway.expireAll();
    await expect(parts(client, 'ndjson')).rejects.toMatchObject({ code: 'ROUTE_NOT_FOUND', status: 404 });
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test.each(['leaving the loop', 'the signal'])('%s ends the call', async (how) => {
    const client = await signedIn();
    const leaving = new AbortController();
    let closed: Promise<unknown> | undefined;
    gateway.answer('POST /sessions/s/messages', (_, response) => {
      closed = once(response, 'close');
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write('{"text":"a"}\n');
    });
    const reading = (async () => {
      for await (const part of client.stream(route, request, { signal: leaving.signal })) {
        expect(part).toEqual({ text: 'a' });
        if (how === 'leaving the loop') break;
        leaving.abort(new Error('gone'));
      }
    })();
    await (how === 'leaving the loop' ? reading : expect(reading).rejects.toThrow('gone'));
    await closed;
  });
});
