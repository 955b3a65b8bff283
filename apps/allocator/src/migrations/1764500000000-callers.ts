import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a caller may hold at most, lists of allocations, and nodes that are removed and renamed.
 *
 * `callers` is empty while nothing is bounded; callers/caller-bounds.ts fills it when a bound is set.
 */
export class Callers1764500000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The index of allocations may be large.
    await runner.query(`set local statement_timeout = 0`);
    await runner.query(`
      alter table settings
        add column caller_tokens_max bigint not null default 0,
        add column caller_requests_max bigint not null default 0`);
    await runner.query(`
      create table callers (
        tenant text collate "C" not null,
        subject text collate "C" not null,
        tokens numeric not null,
        requests bigint not null,
        primary key (subject, tenant)
      ) with (fillfactor = 50)`);
    // Lists look at pages of one time that may have this caller. A B-tree would cost a fifth of an allocation for each new one; this
    // is made from whole pages, when they are full.
    await runner.query(`
      create index allocations_by_caller on allocations using brin (create_time, subject text_bloom_ops)
        with (pages_per_range = 32, autosummarize = on)`);
    await runner.query(`
      -- Why and by whom an allocation was freed by force; the ledger's entry has the same batch.
      create table ledger_reasons (
        batch bigint not null,
        at timestamptz not null,
        tenant text collate "C" not null,
        request_id text collate "C" not null,
        actor_tenant text not null,
        actor text not null,
        reason text not null
      )`);
    await runner.query(`create index ledger_reasons_request on ledger_reasons (request_id, tenant)`);
    await runner.query(`
      alter table nodes
        -- The name in NODES, when it is another: the node was renamed since.
        add column configured_as text collate "C",
        -- It drains because NODES names it no longer.
        add column left_out boolean not null default false`);
    await runner.query(`
      -- The nodes at the last check of the invariant, which goes back with them when the database is restored.
      create table checkpoint (
        only_row boolean primary key default true check (only_row),
        batch bigint not null,
        nodes jsonb not null
      )`);
    // Ended allocations whose ledger was dropped before their history was over, which nothing would have found any more.
    await runner.query(
      `delete from allocations a using settings s
         where a.state in (3, 4) and a.update_time < s.pruned_until - interval '1 day'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table nodes drop column configured_as, drop column left_out`);
    await runner.query(`drop table checkpoint, ledger_reasons, callers`);
    await runner.query(`drop index allocations_by_caller`);
    await runner.query(`alter table settings drop column caller_tokens_max, drop column caller_requests_max`);
  }
}
