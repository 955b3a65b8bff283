import type { MigrationInterface, QueryRunner } from 'typeorm';

export class SessionsAndMessages1764000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table sessions (
        id uuid primary key,
        tenant text not null,
        subject text not null,
        title text not null,
        -- Counts the messages that were answered, so that an agent in memory knows whether it has seen them all.
        turns integer not null default 0,
        create_time timestamptz not null default clock_timestamp(),
        last_used_time timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`create index sessions_last_used on sessions (last_used_time)`);
    await runner.query(`
      create table messages (
        id bigint generated always as identity,
        session_id uuid not null references sessions (id) on delete cascade,
        -- 1: user, 2: assistant, as in the contract.
        role smallint not null check (role in (1, 2)),
        text text not null,
        create_time timestamptz not null default clock_timestamp(),
        primary key (session_id, id)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop table messages, sessions`);
  }
}
