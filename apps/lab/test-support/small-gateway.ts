import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What one answered call was. */
export interface SeenCall {
  readonly method: string;
  readonly path: string;
  readonly address: string;
  readonly forwardedFor: string | undefined;
  readonly authorization: string | undefined;
}

export interface SmallGateway {
  readonly url: string;
  readonly seen: SeenCall[];
  readonly sessions: Set<string>;
  close(): Promise<void>;
}

export interface Behaviour {
  /** What the first access token of a user is good for: so many calls, and so many seconds by what is said of it. */
  readonly firstToken?: { readonly calls?: number; readonly seconds?: number };
  /** Answers by itself when it returns a status. */
  refuse?(call: SeenCall): { status: number; headers?: Record<string, string>; body: object } | undefined;
  /** Waited before an answer, in milliseconds. */
  delayMs?(call: SeenCall): number;
  /** The lines of a reply. */
  reply?(text: string): readonly object[];
}

/** A real HTTP server with the part of the public face that load runs use. */
export async function startSmallGateway(behaviour: Behaviour = {}): Promise<SmallGateway> {
  const seen: SeenCall[] = [];
  const sessions = new Set<string>();
  /** How many calls each token is still good for. */
  const tokens = new Map<string, number>();
  let next = 0;

  const issue = ({ calls = Number.POSITIVE_INFINITY, seconds = 900 }: Behaviour['firstToken'] = {}) => {
    const token = `access-${next++}`;
    tokens.set(token, calls);
    return { access_token: token, refresh_token: `refresh-${next++}`, token_type: 'Bearer', expires_in: seconds };
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call: SeenCall = {
      method: request.method!,
      path: request.url!,
      address: request.socket.remoteAddress!,
      forwardedFor: request.headers['x-forwarded-for'] as string | undefined,
      authorization: request.headers.authorization,
    };
    seen.push(call);
    const body = await text(request);
    const wait = behaviour.delayMs?.(call) ?? 0;
    if (wait > 0) await delay(wait);
    const refusal = behaviour.refuse?.(call);
    if (refusal) return json(response, refusal.status, refusal.body, refusal.headers);
    const path = call.path.replace(/^\/api\/v1/, '');
    if (path === '/health') return json(response, 200, { status: 'ok' });
    if (path === '/auth/register') return json(response, 200, { user: {} });
    if (path === '/auth/guest' || path === '/auth/login') return json(response, 200, issue(behaviour.firstToken));
    if (path === '/auth/refresh') return json(response, 200, issue());
    const token = call.authorization?.replace('Bearer ', '') ?? '';
    const calls = tokens.get(token) ?? 0;
    if (calls === 0) return json(response, 401, { status: 401, code: 'TOKEN_EXPIRED' });
    tokens.set(token, calls - 1);
    if (path === '/sessions') {
      const id = `session-${next++}`;
      sessions.add(id);
      return json(response, 200, { id });
    }
    const [, id, messages] = /^\/sessions\/([^/]+)(\/messages)?$/.exec(path) ?? [];
    if (id === undefined || !sessions.has(id)) return json(response, 404, { status: 404, code: 'NOT_FOUND' });
    if (call.method === 'DELETE') {
      sessions.delete(id);
      return json(response, 200, {});
    }
    if (call.method === 'GET') return json(response, 200, messages ? { messages: [] } : { id });
    const lines = behaviour.reply?.(body) ?? [{ text: 'Wish ' }, { text: 'you were here.' }, { done: true }];
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    for (const line of lines) response.write(`${JSON.stringify(line)}\n`);
    response.end();
    return undefined;
  }

  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    sessions,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function text(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}

function json(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}
