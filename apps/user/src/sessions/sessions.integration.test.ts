import type { userV1 } from '@sluice/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failure, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;
let accounts = 0;
const password = 'correct horse battery';

beforeAll(async () => {
  system = await UserSystem.start(2);
});
afterAll(() => system?.stop());

async function signIn() {
  const email = `user${++accounts}@example.com`;
  await system.first.call('UserService/Register', { email, password });
  const tokens = await system.first.call<userV1.TokenResponse>('UserService/Login', { email, password });
  return { email, ...tokens };
}

const refresh = (refresh_token: string, replica = 0) =>
  system.replica(replica).call<userV1.TokenResponse>('UserService/Refresh', { refresh_token });

test('fifty refreshes of one token at once, over two replicas, give one successor', async () => {
  const { refresh_token } = await signIn();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => refresh(refresh_token, index)));
  const successors = new Set(answers.map((answer) => answer.refresh_token));
  expect(successors.size).toBe(1);
  expect(successors.has(refresh_token)).toBe(false);
  await expect(refresh([...successors][0] as string)).resolves.toBeDefined();
});

test('a token two generations old ends the session', async () => {
  const first = await signIn();
  const second = await refresh(first.refresh_token);
  const third = await refresh(second.refresh_token);
  expect((await failure(refresh(first.refresh_token))).code).toBe('INVALID_GRANT');
  expect((await failure(refresh(third.refresh_token))).code).toBe('INVALID_GRANT');
});
