import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Longer than any access token of a session that was rotated or replayed just now can live, whatever the settings were. */
const LONGEST = `interval '1 day 5 minutes'`;

export class TokenReach1764000000004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // No access token of the session outlives this. One value for all rows that exist, so that the table is not rewritten; the
    // default afterwards is for replicas of the former version, which leave the column out.
    await runner.query(`alter table sessions add column tokens_until timestamptz not null default now() + ${LONGEST}`);
    await runner.query(`alter table sessions alter column tokens_until set default clock_timestamp() + ${LONGEST}`);
    await replaceNotification(
      runner,
      `new.id || ' ' || extract(epoch from new.revoked_at) * 1000 || ' ' || extract(epoch from new.tokens_until) * 1000`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceNotification(runner, `new.id || ' ' || extract(epoch from new.revoked_at) * 1000`);
    await runner.query(`alter table sessions drop column tokens_until`);
  }
}

async function replaceNotification(runner: QueryRunner, payload: string): Promise<void> {
  await runner.query(`
    create or replace function notify_revocation() returns trigger language plpgsql as $$
    begin
      perform pg_notify('sluice_revocations', ${payload});
      return null;
    end $$`);
}
