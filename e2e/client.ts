import { randomUUID } from 'node:crypto';
import { noteSecrets } from '@sluice/testing';

/** The members of answers that tests read by name; matchers look at the others. */
export interface Body extends Record<string, unknown> {
  access_token: string;
  refresh_token: string;
  request_id: string;
  state: string;
  code: string;
  trace_id: string;
  user: { id: string };
}

/** An answer of the gateway. */
export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed; empty when the answer is not JSON. */
  body: Body;
}

export interface Account {
  email: string;
  password: string;
}

/** How a user's program talks to the gateway: paths as in the README, bodies as objects. */
export interface Client {
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Registers a new account. */
  register(): Promise<Account>;
  /** Registers a new account and logs it in. */
  signIn(): Promise<Session>;
  login(account: Account): Promise<Answer>;
}

/** A client with an access token. */
export interface Session {
  account: Account;
  accessToken: string;
  refreshToken: string;
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  allocate(requestId: string, tokenCount: number | string): Promise<Answer>;
  free(requestId: string): Promise<Answer>;
}

export function client(baseUrl: string): Client {
  async function call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    noteSecrets({ ...headers, body });
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    const isJson = /^application\/([\w.]+\+)?json/.test(response.headers.get('content-type') ?? '');
    const parsed = (isJson ? JSON.parse(text) : {}) as Body;
    noteSecrets(parsed);
    return { status: response.status, headers: response.headers, body: parsed };
  }

  const login = (account: Account) => call('POST', '/api/v1/auth/login', account);

  async function register(): Promise<Account> {
    const account = { email: `${randomUUID()}@example.com`, password: 'correct horse battery staple' };
    const answer = await call('POST', '/api/v1/auth/register', account);
    if (answer.status !== 200) throw new Error(`register: ${answer.status} ${JSON.stringify(answer.body)}`);
    return account;
  }

  return {
    call,
    login,
    register,
    async signIn() {
      const account = await register();
      const { body } = await login(account);
      const accessToken = body.access_token;
      const own = (method: string, path: string, content?: unknown) =>
        call(method, path, content, { authorization: `Bearer ${accessToken}` });
      return {
        account,
        accessToken,
        refreshToken: body.refresh_token,
        call: own,
        allocate: (requestId, tokenCount) =>
          own('POST', '/api/v1/alloc', { request_id: requestId, token_count: tokenCount }),
        free: (requestId) => own('POST', '/api/v1/free', { request_id: requestId }),
      };
    },
  };
}
