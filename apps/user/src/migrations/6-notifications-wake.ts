import type { MigrationInterface, QueryRunner } from 'typeorm';

export class NotificationsWake1764000000006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Any role of the database may notify and listen on any channel. So a notification says nothing: it has replicas look at the table.
    // Equal notifications of one transaction are sent once.
    await replaceNotification(runner, `perform pg_notify('sluice_revocations', '')`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await replaceNotification(
      runner,
      `perform pg_notify('sluice_revocations', new.id || ' ' || extract(epoch from new.revoked_at) * 1000 || ' '
         || extract(epoch from new.tokens_until) * 1000)`,
    );
  }
}

async function replaceNotification(runner: QueryRunner, statement: string): Promise<void> {
  await runner.query(`
    create or replace function notify_revocation() returns trigger language plpgsql as $$
    begin
      ${statement};
      return null;
    end $$`);
}
