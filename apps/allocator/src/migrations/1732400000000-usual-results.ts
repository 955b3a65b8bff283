import type { MigrationInterface, QueryRunner } from 'typeorm';
import { applyBatchSql } from '../batch/apply-batch.sql.js';

/** `apply_batch` answers with null for what is usual, and with `place_of_all`: results cannot be changed by replacing it. */
export class UsualResults1732400000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`drop function apply_batch`);
    await runner.query(applyBatchSql);
  }

  async down(): Promise<void> {
    // The function goes with the schema's first migration.
  }
}
