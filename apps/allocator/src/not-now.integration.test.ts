import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres, withClient } from '@sluice/launch';
import { freePort, openFolder, removeData, TEST_SETTINGS } from '@sluice/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { failure, type Replica, startReplica } from './replicas.fixture.js';

/** Postgres says "not now" in many words; to callers it is 503 and a wait, and to operators readiness. */
describe('a Postgres that cannot serve now', () => {
  const folder = openFolder('sluice-not-now-');
  let port: number;
  let server: EmbeddedPostgres;
  let replica: Replica;
  const start = (name = 'data', fixed = port, settings = {}) =>
    startEmbeddedPostgres({
      dataDir: join(folder, name),
      password: 'test',
      logFile: join(folder, `${name}.log`),
      port: fixed,
      settings: { ...TEST_SETTINGS, ...settings },
    });
  const sql = (text: string) => withClient(server.url('postgres'), (client) => client.query(text));
  let ids = 0;
  const allocate = () =>
    replica.client.call('allocate', { request_id: `r${ids++}`, token_count: 1 }, undefined, 10_000);
  const readiness = async () => {
    const response = await fetch(`http://127.0.0.1:${replica.adminPort}/readyz`);
    return { status: response.status, text: await response.text() };
  };
  const untilReady = (says: RegExp, status: number) =>
    vi.waitFor(async () => expect(await readiness()).toMatchObject({ status, text: expect.stringMatching(says) }), {
      timeout: 15_000,
      interval: 100,
    });
  /** The calls that batches make, and one past them. */
  const refused = async () => {
    const failures = [
      await failure(allocate()),
      await failure(replica.client.call('getAllocation', { request_id: 'r0' })),
    ];
    for (const { code, details } of failures) {
      expect(['UNAVAILABLE', 'OVERLOADED']).toContain(code);
      expect(details['retry_after_ms']).toBeGreaterThan(0);
    }
  };
  const works = () =>
    vi.waitFor(async () => expect(await allocate()).toMatchObject({ state: 'ALLOCATED' }), { timeout: 15_000 });

  beforeAll(async () => {
    port = await freePort();
    server = await start();
    replica = await startReplica({
      LOG_LEVEL: 'fatal',
      ALLOCATOR_DATABASE_URL: server.url('postgres'),
      ALLOC_QUEUE_MS: '300',
    });
    await works();
  });
  afterEach(async () => {
    await works();
    await untilReady(/ok/, 200);
  });
  afterAll(async () => {
    await replica.stop();
    await server.stop();
    for (const name of ['data', 'second']) removeData(join(folder, name));
    rmSync(folder, { recursive: true, force: true });
  });

  it('is read-only after a failover', async () => {
    await sql(`alter system set default_transaction_read_only = on`);
    await sql('select pg_reload_conf()');
    await untilReady(/takes no changes/, 503);
    expect(['UNAVAILABLE', 'OVERLOADED']).toContain((await failure(allocate())).code);
    await withClient(server.url('postgres'), async (client) => {
      await client.query('set default_transaction_read_only = off');
      await client.query('alter system reset default_transaction_read_only');
      await client.query('select pg_reload_conf()');
    });
  });

  it('has no schema, or a table is missing', async () => {
    await sql('alter schema budget rename to away');
    await refused();
    await untilReady(/postgres/, 503);
    await sql('alter schema away rename to budget');
  });

  it('has no room for a change', async () => {
    await sql(`create function full_disk() returns trigger language plpgsql as
      $$begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end$$`);
    await sql('create trigger full_disk before insert on budget.allocations execute function full_disk()');
    const { code, details } = await failure(allocate());
    expect({ code, details }).toEqual({ code: 'UNAVAILABLE', details: { retry_after_ms: 1000 } });
    await sql('drop function full_disk() cascade');
  });

  it('changed a table under prepared statements', async () => {
    await replica.client.call('getAllocation', { request_id: 'r0' });
    await sql('alter table budget.allocations alter column node_id type varchar');
    for (let call = 0; call < 12; call++) {
      const answer = await replica.client
        .call('getAllocation', { request_id: 'r0' })
        .catch((error: { code: string }) => error.code);
      if (typeof answer === 'string') expect(answer).toBe('UNAVAILABLE');
    }
    await sql('alter table budget.allocations alter column node_id type text');
    await vi.waitFor(async () =>
      expect(await replica.client.call('getAllocation', { request_id: 'r0' })).toMatchObject({}),
    );
  });

  it('shuts down and lets old connections live, and starts again', async () => {
    // "Smart": SIGTERM to the server itself, as a package's upgrade does.
    const [pid] = readFileSync(join(server.dataDir, 'postmaster.pid'), 'utf8').split('\n');
    process.kill(Number(pid), 'SIGTERM');
    await untilReady(/shutting down/, 503);
    await server.stop();
    await untilReady(/postgres/, 503);
    await refused();
    server = await start();
  });

  it('is not there yet when a service starts, which waits; or is not the first of several hosts, or not the one that takes changes', async () => {
    await server.stop();
    const [closed, second] = [await freePort(), await freePort()];
    const hosts = server
      .url('postgres')
      .replace(/@.*\/postgres/, `@127.0.0.1:${closed},127.0.0.1:${second},127.0.0.1:${port}/postgres`);
    const starting = startReplica({ LOG_LEVEL: 'fatal', ALLOCATOR_DATABASE_URL: hosts });
    // A standby, as it were.
    const standby = await start('second', second, { default_transaction_read_only: 'on' });
    server = await start();
    const other = await starting;
    try {
      await other.client.call('allocate', { request_id: 'by-host', token_count: 1 });
      const { rows } = await sql(`select 1 from budget.allocations where request_id = 'by-host'`);
      expect(rows).toHaveLength(1);
    } finally {
      await other.stop();
      await standby.stop();
    }
  });
});
