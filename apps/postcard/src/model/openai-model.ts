import { Problem } from '@sluice/problem';
import { eventData } from './event-stream.js';
import type { Model, ReplyEvent, ReplyRequest, Turn } from './model.js';

interface OpenAiOptions {
  /** Without a slash at the end; `/chat/completions` is appended. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly model: string;
  /** How long the provider may take between two pieces, and to the first. */
  readonly stallMs: number;
}

/** A part of an answer; providers leave out what they please. */
interface Chunk {
  readonly choices?:
    readonly { readonly delta?: { readonly content?: unknown }; readonly finish_reason?: unknown }[] | null;
  readonly usage?: { readonly total_tokens?: unknown } | null;
  readonly error?: { readonly message?: unknown } | null;
}

/** The streaming chat completions of OpenAI, which many servers speak. */
export class OpenAiModel implements Model {
  constructor(private readonly options: OpenAiOptions) {}

  async *reply(request: ReplyRequest): AsyncGenerator<ReplyEvent> {
    const stall = new AbortController();
    const signal = AbortSignal.any([request.signal, stall.signal]);
    let timer: NodeJS.Timeout | undefined;
    const stalled = () => stall.abort(new Problem('UNAVAILABLE', 'The model has stalled.'));
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(stalled, this.options.stallMs);
    };
    alive();
    try {
      let finished = false;
      for await (const data of eventData(await this.open(request, signal))) {
        alive();
        if (data === '[DONE]') {
          finished = true;
          break;
        }
        const chunk = parseChunk(data);
        const [choice] = chunk.choices ?? [];
        const text = choice?.delta?.content;
        if (typeof text === 'string' && text !== '') yield { kind: 'text', text };
        if (typeof choice?.finish_reason === 'string') finished = true;
        const total = chunk.usage?.total_tokens;
        if (typeof total === 'number' && total > 0) yield { kind: 'cost', tokens: Math.ceil(total) };
      }
      if (!finished) throw new Problem('UNAVAILABLE', 'The model broke off in the middle of its reply.');
    } catch (error) {
      throw asProblem(error, request.signal, stall.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  private async open(request: ReplyRequest, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { baseUrl, apiKey, model } = this.options;
    const response = await fetch(`${baseUrl}/chat/completions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({
        model,
        messages: conversation(request.turns, request.question),
        max_tokens: request.tokensMax,
        stream: true,
        stream_options: { include_usage: true },
      }),
      redirect: 'error',
      signal,
    });
    if (response.ok && response.body) return response.body;
    const text = (await response.text()).slice(0, 500);
    const cause = new Error(`the model answered ${response.status}: ${text}`);
    throw response.status === 429
      ? new Problem('OVERLOADED', 'The model is asked too much.', { cause })
      : new Problem('UNAVAILABLE', 'The model does not answer.', { cause });
  }
}

function conversation(turns: readonly Turn[], question: string): { role: string; content: string }[] {
  const before = turns.flatMap((turn) => [
    { role: 'user', content: turn.question },
    { role: 'assistant', content: turn.answer },
  ]);
  return [...before, { role: 'user', content: question }];
}

function parseChunk(data: string): Chunk {
  const chunk = JSON.parse(data) as Chunk | null;
  if (typeof chunk !== 'object' || chunk === null) throw new SyntaxError('a chunk is no object');
  if (chunk.error) throw new Error(`the model reported: ${String(chunk.error.message).slice(0, 500)}`);
  return chunk;
}

function asProblem(error: unknown, wanted: AbortSignal, stalled: AbortSignal): unknown {
  if (wanted.aborted) return wanted.reason;
  if (stalled.aborted) return stalled.reason;
  return error instanceof Problem ? error : new Problem('UNAVAILABLE', 'The model has failed.', { cause: error });
}
