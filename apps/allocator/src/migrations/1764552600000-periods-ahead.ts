import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Rows of periods are found by their end, so that those of the next period can be made before it begins. `ends` never changes. */
export class PeriodsAhead1764552600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`create index periods_ends on periods (ends)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop index periods_ends`);
  }
}
