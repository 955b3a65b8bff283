import type { MigrationInterface, QueryRunner } from 'typeorm';

export class PasswordVersion1764000000005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Counted up by whatever gives the user another password; not by another hash of the same one. A login that checked the password
    // before opens no session afterwards.
    await runner.query(`alter table users add column password_version integer not null default 0`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table users drop column password_version`);
  }
}
