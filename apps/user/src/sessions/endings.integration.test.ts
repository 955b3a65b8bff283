/** What ends all sessions of a user, raced by logins of that user over two replicas: whatever order they take, nothing escapes. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CallError,
  claimsOf,
  type Identity,
  identityOf,
  signIn,
  UserSystem,
  type SessionTokens,
} from '../replicas.fixture.js';
import { sessionStore } from './session-store.js';

const ROUNDS = 20;
const CLIENTS = 3;
/** Each client goes on logging in for this many times while the cause is at work. */
const LOGINS_EACH = 4;

let system: UserSystem;
let admin: Identity;
/** As another replica would have it, for transactions that the test holds open. */
let dataSource: DataSource;

beforeAll(async () => {
  system = await UserSystem.start(2, { DB_POOL_SIZE: '8' });
  const password = readFileSync(system.environment['ADMIN_PASSWORD_FILE'] as string, 'utf8').trim();
  const login = { email: 'admin@sluice.local', password };
  admin = identityOf((await system.first.call<SessionTokens>('UserService/Login', login)).access_token);
  const extra = { options: '-c search_path=identity' };
  dataSource = await new DataSource({ type: 'postgres', url: system.postgres.url, extra }).initialize();
});
afterAll(async () => {
  await dataSource?.destroy();
  await system?.stop();
});

type SignedIn = Awaited<ReturnType<typeof signIn>>;
const asAdmin = (method: string, request: object) => system.replica(1).call(`AdminService/${method}`, request, admin);

/** Logs in on both replicas while `cause` runs. @returns the tokens of every login that succeeded */
async function race({ email, password }: SignedIn, cause: () => Promise<unknown>): Promise<SessionTokens[]> {
  const tokens: SessionTokens[] = [];
  const logIn = async (client: number) => {
    for (let login = 0; login < LOGINS_EACH; login++) {
      try {
        tokens.push(await system.replica(client + login).call<SessionTokens>('UserService/Login', { email, password }));
      } catch (error) {
        if (!(error instanceof CallError) || error.failure.code.startsWith('gRPC')) throw error;
      }
    }
  };
  const causing = setTimeout(Math.random() * 15).then(cause);
  await Promise.all([causing, ...Array.from({ length: CLIENTS }, (_, client) => logIn(client))]);
  return tokens;
}

/** Of these tokens those whose session has not been ended. */
async function alive(tokens: readonly SessionTokens[]): Promise<SessionTokens[]> {
  const rows = await system.sql<{ id: string }>('select id from sessions where id = any($1) and revoked_at is null', [
    tokens.map(({ session_id }) => session_id),
  ]);
  const ids = new Set(rows.map(({ id }) => id));
  return tokens.filter(({ session_id }) => ids.has(session_id));
}

/** Runs the rounds. @returns those in which `escaped` found something */
async function roundsWith(escaped: () => Promise<number>): Promise<number> {
  let failed = 0;
  for (let round = 0; round < ROUNDS; round++) if ((await escaped()) > 0) failed++;
  return failed;
}

describe('logins that overlap', () => {
  test('a change of roles leave no live token that names the old ones', async () => {
    const failed = await roundsWith(async () => {
      const user = await signIn(system.first);
      await asAdmin('SetRoles', { user_id: user.user.id, roles: ['secret-reader'] });
      const tokens = await race(user, () => asAdmin('SetRoles', { user_id: user.user.id, roles: [] }));
      return (await alive(tokens)).filter(
        ({ access_token }) => (claimsOf(access_token)['roles'] as string[]).length > 0,
      ).length;
    });
    expect(failed).toBe(0);
  });

  test('a lock leave no session, also after the unlock', async () => {
    const failed = await roundsWith(async () => {
      const user = await signIn(system.first);
      const tokens = await race(user, () => asAdmin('LockUser', { user_id: user.user.id }));
      return (await alive([user.tokens, ...tokens])).length;
    });
    expect(failed).toBe(0);
  });

  test('a logout everywhere leave no session that began before it was over', async () => {
    const failed = await roundsWith(async () => {
      const user = await signIn(system.first);
      const tokens = await race(user, () =>
        system.replica(1).call('UserService/Logout', { everywhere: true }, user.identity),
      );
      const escaped = await system.sql(
        `select 1 from sessions s where s.id = any($1) and s.revoked_at is null and s.created_at < (
           select min(revoked_at) from sessions where user_id = $2 and revoked_because = 'logout-everywhere')`,
        [tokens.map(({ session_id }) => session_id), user.user.id],
      );
      return escaped.length;
    });
    expect(failed).toBe(0);
  });
});

/** What ends all sessions of a user: by a call where there is one, and as the statements of its transaction. */
interface Cause {
  readonly call?: (user: SignedIn) => Promise<unknown>;
  readonly within: (manager: EntityManager, user: SignedIn) => Promise<unknown>;
}

const statements =
  (change: string) =>
  async (manager: EntityManager, { user }: SignedIn): Promise<void> => {
    if (change !== '') await manager.query(`update users set ${change} where id = $1`, [user.id]);
    await sessionStore.revokeAllWithin(manager, user.id, user.tenant, 'revoked');
  };

const causes: Readonly<Record<string, Cause>> = {
  'a change of roles': {
    call: ({ user }) => asAdmin('SetRoles', { user_id: user.id, roles: [] }),
    within: statements(`roles = '{}'`),
  },
  'a lock': {
    call: ({ user }) => asAdmin('LockUser', { user_id: user.id }),
    within: statements('locked_at = now()'),
  },
  'a logout everywhere': {
    call: ({ identity }) => system.replica(1).call('UserService/Logout', { everywhere: true }, identity),
    within: statements(''),
  },
  'another password': { within: statements('password_version = password_version + 1') },
  'a tenant that is closed': {
    async within(manager, { user }) {
      const members = await manager.query<{ id: string }[]>(
        'update users set locked_at = now() where tenant = $1 and id = $2 returning id',
        [user.tenant, user.id],
      );
      expect(members).toHaveLength(2);
      await sessionStore.revokeAllWithin(manager, user.id, user.tenant, 'revoked');
    },
  },
};

const waitingForLock = async () =>
  (await system.sql(`select 1 from pg_stat_activity where wait_event_type = 'Lock'`)).length > 0;

describe.each(Object.entries(causes))('%s', (_name, { call, within }) => {
  test('ends the session that has begun and is not committed', async () => {
    const user = await signIn(system.first);
    await system.sql(`update users set roles = '{secret-reader}' where id = $1`, [user.user.id]);
    const begun = Promise.withResolvers<string>();
    const commit = Promise.withResolvers<void>();
    const beginning = transaction(dataSource, {}, async (manager) => {
      const session = { id: randomUUID(), userId: user.user.id, passwordVersion: 0, device: '', address: '' };
      const seconds = { idle: 60, absolute: 60, token: 60 };
      begun.resolve((await sessionStore.insertWithin(manager, session, seconds))!.session_id);
      await commit.promise;
    });
    const session = await begun.promise;
    let over = false;
    const ending = (call ? call(user) : transaction(dataSource, {}, (manager) => within(manager, user))).finally(
      () => (over = true),
    );
    await expect.poll(async () => over || (await waitingForLock())).toBe(true);
    commit.resolve();
    await Promise.all([beginning, ending]);
    const living = await system.sql('select 1 from sessions where id = $1 and revoked_at is null', [session]);
    expect(living).toEqual([]);
  });

  test('holds for a login that has checked the password and comes while it is not committed', async () => {
    const user = await signIn(system.first);
    await system.sql(`update users set roles = '{secret-reader}' where id = $1`, [user.user.id]);
    const changed = Promise.withResolvers<void>();
    const commit = Promise.withResolvers<void>();
    const ending = transaction(dataSource, {}, async (manager) => {
      await within(manager, user);
      changed.resolve();
      await commit.promise;
    });
    await changed.promise;
    const { email, password } = user;
    const login = system.first
      .call<SessionTokens>('UserService/Login', { email, password })
      .catch((error: CallError) => error.failure.code);
    await expect.poll(waitingForLock).toBe(true);
    commit.resolve();
    const [tokens] = await Promise.all([login, ending]);
    const [now] = await system.sql<{ roles: string[]; password_version: number; locked: boolean }>(
      'select roles, password_version, locked_at is not null as locked from users where id = $1',
      [user.user.id],
    );
    if (now!.locked || now!.password_version > 0) expect(tokens).toBe('PERMISSION_DENIED');
    else expect(claimsOf((tokens as SessionTokens).access_token)['roles']).toEqual(now!.roles);
  });
});
