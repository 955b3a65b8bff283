import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The schema `budget`. The numbers of states, kinds and strategies are those of batch/operation.ts.
 *
 * No index mentions a column that changes during an allocation's life, and pages keep room for a second version of a row,
 * so that settling and freeing touch no index (heap-only tuples). What would need an index by time has a table of its own
 * (`leases`), or is found by the ledger, which is in order of time by itself.
 */
export class Budget1732300000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table nodes (
        node_id text collate "C" primary key,
        capacity bigint not null check (capacity >= 1),
        used bigint not null default 0 check (used >= 0),
        state smallint not null default 1 check (state in (1, 2)),
        -- What NODES and NODE_BUDGET said last: only a change of the setting overrides what was set since.
        configured_capacity bigint
      ) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)`);
    await runner.query(`
      create table settings (
        only_row boolean primary key default true check (only_row),
        strategy smallint not null check (strategy in (1, 2)),
        configured_strategy smallint not null,
        large_request_tokens bigint not null,
        -- Freed and expired allocations that ended before this have been forgotten.
        pruned_until timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`
      create table allocations (
        tenant text collate "C" not null,
        request_id text collate "C" not null,
        subject text collate "C" not null,
        node_id text collate "C" not null,
        token_count bigint not null check (token_count >= 1),
        ttl_seconds bigint not null,
        settled bigint not null check (settled between 0 and token_count),
        expires_at timestamptz,
        create_time timestamptz not null,
        update_time timestamptz not null,
        state smallint not null check (state between 1 and 4),
        strategy smallint not null,
        -- Ids differ early, tenants seldom: in this order most comparisons need only the first column.
        primary key (request_id, tenant)
      ) with (fillfactor = 70)`);
    await runner.query(`
      create table leases (
        expires_at timestamptz not null,
        tenant text collate "C" not null,
        request_id text collate "C" not null,
        primary key (expires_at, tenant, request_id)
      )`);
    await runner.query(`create sequence batch_seq`);
    await runner.query(`
      create table ledger (
        batch bigint not null,
        at timestamptz not null,
        delta bigint not null,
        capacity_delta bigint not null,
        ordinal int not null,
        kind smallint not null,
        node_id text collate "C" not null,
        tenant text collate "C",
        request_id text collate "C"
      ) partition by range (at)`);
    await runner.query(`create table ledger_default partition of ledger default`);
    await runner.query(`
      -- What the months of the ledger that were dropped had added up to, for everything that was not back at zero.
      create table ledger_opening (
        node_id text collate "C" not null,
        tenant text collate "C",
        request_id text collate "C",
        delta bigint not null,
        capacity_delta bigint not null
      )`);
    await runner.query(
      `create index ledger_batch on ledger using brin (batch) with (pages_per_range = 32, autosummarize = on)`,
    );
    await runner.query(
      `create index ledger_at on ledger using brin (at) with (pages_per_range = 32, autosummarize = on)`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop function if exists apply_batch`);
    await runner.query(`drop table ledger, ledger_opening, leases, allocations, settings, nodes`);
    await runner.query(`drop sequence batch_seq`);
  }
}
