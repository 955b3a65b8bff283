import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Results of `apply_batch` cannot be changed by replacing it: it goes, and is installed anew after the migrations. */
export class UsualResults1732400000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`drop function if exists apply_batch`);
  }

  async down(): Promise<void> {
    // The function goes with the schema's first migration.
  }
}
