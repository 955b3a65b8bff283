import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signIn, UserSystem } from '../replicas.fixture.js';
import { prune } from './prune.js';

let system: UserSystem;
let dataSource: DataSource;

beforeAll(async () => {
  system = await UserSystem.start(1);
  const extra = { options: '-c search_path=identity' };
  dataSource = await new DataSource({ type: 'postgres', url: system.postgres.url, extra }).initialize();
});
afterAll(async () => {
  await dataSource?.destroy();
  await system?.stop();
});

const AUDIT_DAYS = 90;
const count = async (table: string) =>
  (await system.sql<{ n: number }>(`select count(*)::int as n from ${table}`))[0]?.n;

test('deletes what has run out, in batches, and nothing else', async () => {
  const kept = await signIn(system.first);
  const ended = await signIn(system.first);
  await system.first.call('UserService/Logout', {}, ended.identity);
  await system.sql(
    `insert into sessions (id, tenant, user_id, idle_until, absolute_until)
     select gen_random_uuid(), 'default', $1, now() - interval '1 day', now() - interval '1 day'
     from generate_series(1, 1234)`,
    [kept.user.id],
  );
  await system.sql(
    `insert into throttles (key, failures, blocked_until, changed_at) values
     ('old', 1, now(), now() - interval '1 day'), ('new', 1, now(), now())`,
  );
  await system.sql(
    `insert into audit_events (tenant, action, outcome, at) values ('default', 'login', 'success', now() - interval '91 days')`,
  );
  await system.sql(
    `insert into users (id, tenant, guest, created_at) values (gen_random_uuid(), 'default', true, now() - interval '1 day')`,
  );
  const deleted = await prune(dataSource, AUDIT_DAYS);
  expect(Object.fromEntries(deleted)).toMatchObject({ sessions: 1234, throttles: 1, audit_events: 1, users: 1 });
  expect(await count('sessions')).toBe(2);
  expect(await count('users')).toBe(3);

  await system.sql(`update sessions set revoked_at = revoked_at - interval '1 day' where revoked_at is not null`);
  expect((await prune(dataSource, AUDIT_DAYS)).get('sessions')).toBe(0);
  await system.sql(`update sessions set tokens_until = now() - interval '301 s' where revoked_at is not null`);
  expect((await prune(dataSource, AUDIT_DAYS)).get('sessions')).toBe(1);
});

test('leaves rows that somebody holds to the next round', async () => {
  await system.sql(
    `insert into throttles (key, failures, blocked_until, changed_at) values ('held', 1, now(), now() - interval '1 day')`,
  );
  const holder = dataSource.createQueryRunner();
  await holder.startTransaction();
  await holder.query(`select from throttles where key = 'held' for update`);
  expect((await prune(dataSource, AUDIT_DAYS)).get('throttles')).toBe(0);
  await holder.rollbackTransaction();
  await holder.release();
  expect((await prune(dataSource, AUDIT_DAYS)).get('throttles')).toBe(1);
});
