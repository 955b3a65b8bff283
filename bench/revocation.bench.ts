/**
 * How soon the gateway refuses a session that was ended, over the whole system with two replicas of the user service: from the
 * answer of the logout to the first 401, for many sessions, some at once.
 *
 *   npm run bench revocation [sessions]
 */
import { randomUUID } from 'node:crypto';
import { startSystem } from '@sluice/testing';

const sessions = Number(process.argv[2] ?? 1000);
const TOGETHER = 8;

const system = await startSystem({
  replicas: { user: 2 },
  env: { RATE_LIMIT_ENABLED: 'false', PASSWORD_MEMORY_KIB: '64', ACCESS_LOG: 'false', SESSIONS_PER_USER: '100000' },
});
try {
  const account = { email: `${randomUUID()}@example.com`, password: 'correct horse battery staple' };
  await post('auth/register', account);
  const waits: number[] = [];
  let left = sessions;
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      while (left-- > 0) waits.push(await timeToRefusal(account));
    }),
  );
  waits.sort((a, b) => a - b);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))]!.toFixed(1);
  console.log(
    `${waits.length} sessions ended: refused after ${at(0.5)} ms (median), ${at(0.99)} ms (p99), ${at(1)} ms (the last)`,
  );
} finally {
  await system.stop();
}

async function timeToRefusal(account: object): Promise<number> {
  const { access_token: token } = (await (await post('auth/login', account)).json()) as { access_token: string };
  if ((await me(token)) !== 200) throw new Error('a new session is refused');
  await post('auth/logout', {}, token);
  const ended = performance.now();
  while ((await me(token)) === 200) await new Promise((resolve) => setTimeout(resolve, 2));
  return performance.now() - ended;
}

async function me(token: string): Promise<number> {
  const answer = await fetch(`${system.baseUrl}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  await answer.arrayBuffer();
  if (answer.status !== 200 && answer.status !== 401) throw new Error(`GET /me: ${answer.status}`);
  return answer.status;
}

async function post(path: string, body: object, token?: string): Promise<Response> {
  const answer = await fetch(`${system.baseUrl}/api/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}
