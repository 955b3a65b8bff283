import { randomUUID } from 'node:crypto';
import { Controller } from '@nestjs/common';
import { postcardV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { currentCall, currentCaller } from '@sluice/service';
import { defer, from, type Observable } from 'rxjs';
import { Messages } from './messages/messages.js';
import { toMessage, toSession } from './messages-of-contract.js';
import { Agents } from './sessions/agents.js';
import { SessionStore } from './sessions/session-store.js';

const TITLE_CHARACTERS_MAX = 200;
const TEXT_CHARACTERS_MAX = 8000;
const PAGE_USUAL = 50;
const PAGE_MAX = 200;

@Controller()
@postcardV1.PostcardServiceControllerMethods()
export class PostcardController implements postcardV1.PostcardServiceController {
  constructor(
    private readonly store: SessionStore,
    private readonly agents: Agents,
    private readonly messages: Messages,
  ) {}

  async createSession(request: postcardV1.CreateSessionRequest): Promise<postcardV1.Session> {
    const title = readText('title', request.title, 0, TITLE_CHARACTERS_MAX);
    return this.toSession(await this.store.create(currentCall(), currentCaller(), randomUUID(), title));
  }

  async getSession(request: postcardV1.GetSessionRequest): Promise<postcardV1.Session> {
    return this.toSession(found(await this.store.find(currentCall(), currentCaller(), request.session_id)));
  }

  async deleteSession(request: postcardV1.DeleteSessionRequest): Promise<postcardV1.DeleteSessionResponse> {
    found((await this.store.delete(currentCall(), currentCaller(), request.session_id)) || undefined);
    this.agents.forget(request.session_id);
    return {};
  }

  sendMessage(request: postcardV1.SendMessageRequest): Observable<postcardV1.ReplyPart> {
    const text = readText('text', request.text, 1, TEXT_CHARACTERS_MAX);
    const call = currentCall();
    const caller = currentCaller();
    return defer(() => from(this.messages.send(call, caller, request.session_id, text)));
  }

  async listMessages(request: postcardV1.ListMessagesRequest): Promise<postcardV1.ListMessagesResponse> {
    const call = currentCall();
    const size = readPageSize(request.page_size);
    const after = readPageToken(request.page_token);
    const session = found(await this.store.find(call, currentCaller(), request.session_id));
    const rows = await this.store.messages(call, session.id, after, size + 1);
    const page = rows.slice(0, size);
    return { messages: page.map(toMessage), next_page_token: rows.length > size ? page.at(-1)!.id : '' };
  }

  private toSession(row: Parameters<typeof toSession>[0]): postcardV1.Session {
    return toSession(row, this.store.idleSeconds);
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Problem('NOT_FOUND', 'There is no such session.');
  return value;
}

function readText(field: string, text: string, min: number, max: number): string {
  const characters = [...text].length;
  if (characters < min || characters > max) {
    throw new Problem('INVALID_ARGUMENT', `${field}: expected ${min} to ${max} characters`, { details: { field } });
  }
  // Postgres has no text with this character in it.
  if (text.includes('\0')) {
    throw new Problem('INVALID_ARGUMENT', `${field}: expected text without the character NUL`, { details: { field } });
  }
  return text;
}

function readPageSize(size: number): number {
  if (size === 0) return PAGE_USUAL;
  if (size >= 1 && size <= PAGE_MAX) return size;
  throw new Problem('INVALID_ARGUMENT', `page_size: expected 1 to ${PAGE_MAX}`, { details: { field: 'page_size' } });
}

function readPageToken(token: string): string {
  if (token === '') return '0';
  if (/^\d{1,18}$/.test(token)) return token;
  throw new Problem('INVALID_ARGUMENT', 'page_token: expected a next_page_token', { details: { field: 'page_token' } });
}
