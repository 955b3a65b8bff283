import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signIn, startReplicaOn, UserSystem } from '../replicas.fixture.js';

let system: UserSystem;
let stranger: pg.Client;

beforeAll(async () => {
  system = await UserSystem.start(1);
  await system.sql(`create role stranger login password 'stranger'`);
  const url = new URL(system.postgres.url);
  [url.username, url.password] = ['stranger', 'stranger'];
  stranger = new pg.Client(url.href);
  await stranger.connect();
});
afterAll(async () => {
  await stranger?.end();
  await system?.stop();
});

test('another role of the database, with every advisory lock it likes, keeps nobody from starting, rotating and serving', async () => {
  // The numbers and the names that the services once took.
  await stranger.query('select pg_advisory_lock(n) from generate_series(7226300, 7226320) n');
  await stranger.query(`select pg_advisory_lock(hashtextextended('guest/203.0.113.0', 0))`);
  const replica = await startReplicaOn(system.environment);
  await signIn(replica);
  const guest = { device_id: 'of the locks' };
  await replica.call('UserService/CreateGuest', guest, { 'client-ip': '203.0.113.0' });
  const { rows } = await stranger.query('select count(*)::int as n from pg_locks where locktype = $1', ['advisory']);
  expect(rows[0].n).toBeGreaterThan(20);
  await replica.stop();
});

test('its locks stand in a schema that others cannot reach', async () => {
  await expect(stranger.query('select from identity.locks for update')).rejects.toThrow('permission denied');
  await expect(stranger.query('begin; lock table identity.users')).rejects.toThrow('permission denied');
});
