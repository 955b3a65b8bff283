import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Problem } from '@sluice/problem';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ReplyEvent } from './model.js';
import { OpenAiModel } from './openai-model.js';

interface Asked {
  readonly url: string;
  readonly authorization: string | undefined;
  readonly body: { readonly messages: readonly { role: string; content: string }[] } & Record<string, unknown>;
}

/** A real HTTP server that speaks the protocol, or breaks it as `answer` says. */
async function provider(answer: (response: ServerResponse) => void | Promise<void>) {
  const asked: Asked[] = [];
  let left = 0;
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    response.on('close', () => (response.writableFinished ? 0 : left++));
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      asked.push({
        url: request.url!,
        authorization: request.headers.authorization,
        body: JSON.parse(text) as Asked['body'],
      });
      void answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const options = { baseUrl: `http://127.0.0.1:${port}/v1`, apiKey: 'a key', model: 'm', stallMs: 400 };
  return { model: new OpenAiModel(options), asked, clientsThatLeft: () => left };
}

const piece = (text: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ choices: [{ delta: { content: text }, finish_reason: finish }] })}\n\n`;
const head = { 'content-type': 'text/event-stream' };

async function read(model: OpenAiModel, signal = new AbortController().signal) {
  const events: ReplyEvent[] = [];
  let failure: unknown;
  const turns = [{ question: 'before', answer: 'answered' }];
  try {
    for await (const event of model.reply({ turns, question: 'now', tokensMax: 9, signal })) events.push(event);
  } catch (error) {
    failure = error;
  }
  const text = events.map((event) => (event.kind === 'text' ? event.text : '')).join('');
  return { events, text, failure: failure as Problem | undefined };
}

describe('an endpoint that speaks the chat completions of OpenAI', () => {
  it('is asked with the conversation, and its pieces and its count are passed on', async () => {
    const { model, asked } = await provider((response) => {
      response.writeHead(200, head);
      response.write(piece('Wish '));
      response.write(piece('you', 'stop'));
      response.end('data: {"choices":[],"usage":{"total_tokens":42}}\n\ndata: [DONE]\n\n');
    });
    const { events, failure } = await read(model);
    expect(failure).toBeUndefined();
    expect(events).toEqual([
      { kind: 'text', text: 'Wish ' },
      { kind: 'text', text: 'you' },
      { kind: 'cost', tokens: 42 },
    ]);
    expect(asked[0]).toMatchObject({ url: '/v1/chat/completions', authorization: 'Bearer a key' });
    expect(asked[0]!.body).toMatchObject({ model: 'm', max_tokens: 9, stream: true });
    expect(asked[0]!.body.messages).toEqual([
      { role: 'user', content: 'before' },
      { role: 'assistant', content: 'answered' },
      { role: 'user', content: 'now' },
    ]);
  });

  it.each([
    ['ends without having finished', (response: ServerResponse) => void response.end()],
    ['breaks the connection', (response: ServerResponse) => void response.destroy()],
    [
      'reports an error',
      (response: ServerResponse) => void response.end('data: {"error":{"message":"out of memory"}}\n\n'),
    ],
    ['sends what is no JSON', (response: ServerResponse) => void response.end('data: {"choices":[{\n\n')],
    ['stalls', () => undefined],
  ])('fails in the middle when it %s; what came before is not lost', async (_, breakOff) => {
    const { model } = await provider((response) => {
      response.writeHead(200, head);
      response.write(piece('Wish '), () => setTimeout(() => breakOff(response), 50));
    });
    const { text, failure } = await read(model);
    expect(text).toBe('Wish ');
    expect(failure).toBeInstanceOf(Problem);
    expect(failure!.code).toBe('UNAVAILABLE');
  });

  it('may be slow, as long as it does not stall', async () => {
    const { model } = await provider(async (response) => {
      response.writeHead(200, head);
      for (let count = 0; count < 6; count++) {
        response.write(piece('x'));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      response.end('data: [DONE]\n\n');
    });
    expect(await read(model)).toMatchObject({ text: 'xxxxxx', failure: undefined });
  });

  it.each([
    [429, 'OVERLOADED'],
    [401, 'UNAVAILABLE'],
    [500, 'UNAVAILABLE'],
  ])('status %i is %s, and its words stay out of the answer', async (status, code) => {
    const { model } = await provider((response) => void response.writeHead(status).end('the key sk-123 is wrong'));
    const { failure } = await read(model);
    expect(failure!.code).toBe(code);
    expect(failure!.message).not.toContain('sk-123');
  });

  it('is told when nobody wants the reply any more', async () => {
    const left = new AbortController();
    const { model, clientsThatLeft } = await provider((response) => {
      response.writeHead(200, head);
      response.write(piece('Wish '), () => setTimeout(() => left.abort(), 20));
    });
    const { failure } = await read(model, left.signal);
    expect(failure).toBe(left.signal.reason);
    await expect.poll(clientsThatLeft).toBe(1);
  });
});
