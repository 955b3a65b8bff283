import type { MigrationInterface, QueryRunner } from 'typeorm';

export class KnownNetworks1764000000007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table known_networks (
        -- An account and a network that its password was shown from, for example known/default/3fa9…/198.51.100.7.
        key text primary key,
        seen_at timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`create index known_networks_by_time on known_networks (seen_at)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table known_networks');
  }
}
