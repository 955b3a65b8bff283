import type { MigrationInterface, QueryRunner } from 'typeorm';

export class RefreshRate1764000000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The theoretical arrival time of GCRA: when the next rotation would come if they came evenly.
    await runner.query(`alter table sessions add column refresh_due timestamptz not null default clock_timestamp()`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table sessions drop column refresh_due`);
  }
}
