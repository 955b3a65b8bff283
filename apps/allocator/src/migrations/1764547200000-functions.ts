import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which text of each function is installed; batch/functions.ts installs them at every start, after the migrations. */
export class Functions1764547200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table functions (
        name text primary key,
        version int not null,
        -- SHA-256 of the file, in hexadecimal.
        hash text not null,
        installed_at timestamptz not null default clock_timestamp()
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table functions`);
  }
}
