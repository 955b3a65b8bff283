import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort } from '@sluice/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, signIn, UserSystem, type SessionTokens } from '../replicas.fixture.js';

/** A real process, so that it can be killed: it runs what `tsc -b` built. */
const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const CLIENTS = 25;
const ROTATIONS_EACH = 20;
const ROUNDS = 6;
/** Six starts of a process and 500 rotations take 12 s, and five times as long where others keep both cores busy. */
const PATIENCE_MS = 180_000;

let system: UserSystem;
let running: ChildProcess | undefined;

beforeAll(async () => {
  expect(existsSync(main), 'run `npx tsc -b` first').toBe(true);
  // However long a restart takes here, it is within the grace.
  system = await UserSystem.start(1, { REFRESH_GRACE_SECONDS: '300' });
});
afterAll(async () => {
  running?.kill('SIGKILL');
  await system?.stop();
});

async function startProcess(port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [main], {
    env: { ...process.env, ...system.environment, USER_PORT: String(port), USER_ADMIN_PORT: '0', LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout!) if (String(chunk).includes('"ready"')) break;
  child.stdout!.resume();
  return child;
}

test(
  `a process killed at random points of ${CLIENTS * ROTATIONS_EACH} rotations costs nobody the session, and nobody gets two successors`,
  async () => {
    const port = await freePort();
    running = await startProcess(port);
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, async () => ({
        token: (await signIn(system.first)).tokens.refresh_token,
        done: 0,
      })),
    );
    const killed = connect(`127.0.0.1:${port}`);
    let up: Promise<unknown> = Promise.resolve();

    /** Rotates until it is done; a call whose process died is made again with the same token, as a client would. */
    const rotate = async (client: { token: string; done: number }) => {
      while (client.done < ROTATIONS_EACH) {
        try {
          const request = { refresh_token: client.token };
          const answer = await killed.call<SessionTokens>('UserService/Refresh', request);
          client.token = answer.refresh_token;
          client.done++;
        } catch (error) {
          expect(String(error)).not.toContain('INVALID_GRANT');
          await up;
        }
      }
    };
    const all = Promise.all(clients.map(rotate));
    const total = () => clients.reduce((sum, { done }) => sum + done, 0);
    for (let round = 1; round <= ROUNDS; round++) {
      const target = (CLIENTS * ROTATIONS_EACH * round) / (ROUNDS + 1);
      while (total() < target) await new Promise((resolve) => setImmediate(resolve));
      const child = running;
      child.kill('SIGKILL');
      up = once(child, 'exit').then(async () => {
        running = await startProcess(port);
      });
      await up;
    }
    await all;
    killed.close();

    const rows = await system.sql<{ generation: number }>(
      'select generation from sessions where revoked_at is null and generation > 1',
    );
    expect(rows).toHaveLength(CLIENTS);
    // Each answer that a client got is a generation; an answer that was lost with its process is got again, not a further one.
    expect(rows.map(({ generation }) => generation)).toEqual(rows.map(() => ROTATIONS_EACH + 1));
    for (const { token } of clients) {
      const again = await system.first.call<SessionTokens>('UserService/Refresh', { refresh_token: token });
      expect(again.refresh_token).not.toBe(token);
    }
  },
  PATIENCE_MS,
);
