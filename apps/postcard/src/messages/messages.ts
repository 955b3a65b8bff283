import { Injectable } from '@nestjs/common';
import type { postcardV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { estimatePrompt, type Model, type Turn } from '../model/model.js';
import { Agents } from '../sessions/agents.js';
import { SessionStore } from '../sessions/session-store.js';
import { Budget, type Reservation } from './budget.js';

interface MessageOptions {
  readonly replyTokensMax: number;
  readonly leaseMs: number;
}

/** What was used so far, and what was written. */
interface Reply {
  text: string;
  tokens: number;
}

/** Answers messages: reserve, stream, save, settle. */
@Injectable()
export class Messages {
  constructor(
    private readonly store: SessionStore,
    private readonly agents: Agents,
    private readonly budget: Budget,
    private readonly model: Model,
    private readonly options: MessageOptions,
  ) {}

  /**
   * Streams a reply. Whatever happens after the reservation, it ends: what the model has used by then is settled, and all is
   * freed when that is nothing.
   *
   * @throws Problem NOT_FOUND, BUDGET_EXHAUSTED, UNAVAILABLE
   */
  async *send(call: Call, caller: Caller, sessionId: string, question: string): AsyncGenerator<postcardV1.ReplyPart> {
    const session = await this.store.touch(call, caller, sessionId);
    if (!session) throw new Problem('NOT_FOUND', 'There is no such session.');
    const { turns } = await this.agents.get(sessionId, session.turns);
    const prompt = estimatePrompt(turns, question);
    const reservation = await this.budget.reserve(call, prompt + this.options.replyTokensMax);
    const reply: Reply = { text: '', tokens: 0 };
    let saved: string | undefined;
    let used = 0;
    try {
      yield* this.stream(call, turns, question, prompt, reply);
      saved = await this.save(call, sessionId, { question, answer: reply.text });
    } finally {
      used = await end(reservation, reply.tokens);
    }
    yield {
      receipt: { message_id: saved, tokens_reserved: String(reservation.tokens), tokens_used: String(used) },
    };
  }

  private async *stream(
    call: Call,
    turns: readonly Turn[],
    question: string,
    prompt: number,
    reply: Reply,
  ): AsyncGenerator<postcardV1.ReplyPart> {
    const tokensMax = this.options.replyTokensMax;
    // The lease ends then: what is written after it would not be paid for.
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(this.options.leaseMs)]);
    for await (const event of this.model.reply({ turns, question, tokensMax, signal })) {
      if (event.kind === 'cost') {
        reply.tokens = event.tokens;
        continue;
      }
      reply.tokens = reply.tokens === 0 ? prompt + 1 : reply.tokens + 1;
      reply.text += event.text;
      yield { text: event.text };
    }
    if (reply.text === '') throw new Problem('UNAVAILABLE', 'The model gave no reply.');
  }

  private async save(call: Call, sessionId: string, turn: Turn): Promise<string> {
    const saved = await this.store.addTurn(call, sessionId, turn);
    if (!saved) throw new Problem('NOT_FOUND', 'The session was deleted while the reply was written.');
    this.agents.learn(sessionId, saved.turns, turn);
    return saved.messageId;
  }
}

/** @returns the tokens that were settled */
async function end(reservation: Reservation, tokens: number): Promise<number> {
  if (tokens > 0) return reservation.settle(tokens);
  await reservation.free();
  return 0;
}
