import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Caller {
  readonly subject: string;
  readonly guest: boolean;
  accessToken: string;
  refreshToken: string;
}

/** A server that answers as the gateway does, as far as a client can tell, and counts what it is asked. */
export interface TestGateway {
  readonly baseUrl: string;
  /** Requests by `METHOD /path`. */
  readonly calls: Map<string, number>;
  count(route: string): number;
  /** Makes a session and returns its tokens. */
  open(options?: { guest?: boolean }): { access_token: string; refresh_token: string };
  /** Access tokens of now are refused from now on. */
  expireAll(): void;
  /** Refresh tokens of now are refused from now on. */
  revokeAll(): void;
  /** Answers the next requests of a route in another way; `undefined` again lets it be. */
  answer(route: string, handler: Handler | undefined): void;
  close(): Promise<void>;
}

export type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void | Promise<void>;

export function json(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

export function problem(
  response: ServerResponse,
  status: number,
  code: string,
  details: object = {},
  headers: Record<string, string> = {},
): void {
  json(
    response,
    status,
    { title: code, status, code, detail: `about ${code}`, details, trace_id: 'trace-1' },
    { 'content-type': 'application/problem+json', ...headers },
  );
}

export async function startGateway(): Promise<TestGateway> {
  const callers = new Map<string, Caller>();
  const refreshable = new Map<string, Caller>();
  const calls = new Map<string, number>();
  const overrides = new Map<string, Handler>();
  let serial = 0;

  function issue(caller: Caller) {
    caller.accessToken = `access-${++serial}`;
    caller.refreshToken = `refresh-${++serial}`;
    callers.set(caller.accessToken, caller);
    refreshable.set(caller.refreshToken, caller);
    return {
      access_token: caller.accessToken,
      refresh_token: caller.refreshToken,
      token_type: 'Bearer',
      expires_in: 900,
      session_id: caller.subject,
      ...(caller.guest && { guest: true }),
    };
  }
  const openSession = (guest = false) =>
    issue({ subject: `subject-${++serial}`, guest, accessToken: '', refreshToken: '' });

  const routes: Record<string, Handler> = {
    'POST /auth/login': (_, response, body) =>
      JSON.parse(body).password === 'right'
        ? json(response, 200, openSession())
        : problem(response, 401, 'INVALID_CREDENTIALS'),
    'POST /auth/register': (_, response, body) =>
      json(response, 200, { user: { id: '1', email: JSON.parse(body).email } }),
    'POST /auth/guest': (_, response) => json(response, 200, openSession(true)),
    'POST /auth/refresh': (_, response, body) => {
      const { refresh_token: presented } = JSON.parse(body) as { refresh_token: string };
      const caller = refreshable.get(presented);
      // One generation: whoever presents a token a second time is refused, so that a second refresh is seen.
      if (caller?.refreshToken !== presented) return problem(response, 401, 'INVALID_GRANT');
      return json(response, 200, issue(caller));
    },
  };
  const signedIn: Record<string, (caller: Caller, ...rest: Parameters<Handler>) => void> = {
    'GET /me': (caller, _, response) => json(response, 200, { id: caller.subject, guest: caller.guest }),
    'POST /auth/logout': (caller, _, response) => {
      refreshable.delete(caller.refreshToken);
      callers.delete(caller.accessToken);
      json(response, 200, {});
    },
    'POST /auth/guest/upgrade': (caller, _, response) => json(response, 200, issue({ ...caller, guest: false })),
    'POST /alloc': (_, __, response, body) => json(response, 200, { ...JSON.parse(body), state: 'ALLOCATED' }),
  };

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const route = `${request.method} ${request.url?.replace('/api/v1', '').split('?')[0]}`;
    calls.set(route, (calls.get(route) ?? 0) + 1);
    const handler = overrides.get(route) ?? routes[route];
    if (handler !== undefined) return handler(request, response, body);
    const caller = callers.get(request.headers.authorization?.replace('Bearer ', '') ?? '');
    if (caller === undefined) {
      return problem(response, 401, 'TOKEN_EXPIRED', {}, { 'www-authenticate': 'Bearer error="invalid_token"' });
    }
    const protectedRoute = signedIn[route];
    if (protectedRoute === undefined) return problem(response, 404, 'ROUTE_NOT_FOUND');
    return protectedRoute(caller, request, response, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v1`,
    calls,
    count: (route) => calls.get(route) ?? 0,
    open: ({ guest = false } = {}) => openSession(guest),
    expireAll: () => callers.clear(),
    revokeAll: () => refreshable.clear(),
    answer: (route, handler) => void (handler ? overrides.set(route, handler) : overrides.delete(route)),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
