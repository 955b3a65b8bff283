import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Budgets that people have: accounts, their limits, and what is used of each limit in each period (ADR 0031). Everything is added with
 * defaults that mean "no accounts", so replicas of the former release go on beside the new ones.
 *
 * `periods` has one row for a limit and a period, made when it is first needed: nothing is ever reset. A charge set is the list of
 * the rows that one account's path is charged to, so an allocation and its entries in the ledger carry one number for all of them.
 * The numbers of units and periods are those of accounts/units.ts.
 */
export class Accounts1764550800000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table settings add column accounted boolean not null default false`);
    await runner.query(`
      alter table nodes
        add column pool text collate "C" not null default 'default',
        -- A refill window beside the balance; 0 seconds: none. In place: nobody reads a node's past windows.
        add column window_seconds int not null default 0,
        add column window_limit bigint not null default 0,
        -- In seconds since the epoch.
        add column window_start bigint not null default 0,
        add column window_used bigint not null default 0,
        add column rest_until timestamptz,
        add column rest_reason text`);
    await runner.query(`
      alter table allocations
        drop constraint allocations_check,
        add column set_id bigint,
        -- Micro-USD, reserved and settled.
        add column cost bigint not null default 0,
        add column settled_cost bigint not null default 0,
        -- The node's window that was charged, in seconds since the epoch.
        add column window_start bigint,
        -- A JSON object of text.
        add column labels text`);
    await runner.query(`
      alter table ledger
        add column cost_delta bigint not null default 0,
        add column set_id bigint,
        add column window_start bigint`);
    await runner.query(`
      alter table ledger_opening
        add column cost_delta bigint not null default 0,
        add column set_id bigint,
        add column requests bigint not null default 0`);
    await runner.query(`create sequence account_seq`);
    await runner.query(`
      create table accounts (
        account_id bigint primary key default nextval('account_seq'),
        tenant text collate "C" not null,
        -- Null for the tenant's root, whose name is empty.
        parent bigint references accounts,
        level smallint not null check (level between 0 and 5),
        name text collate "C" not null,
        -- 1 open, 2 closed.
        state smallint not null default 1 check (state in (1, 2)),
        create_time timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`create unique index accounts_name on accounts (tenant, coalesce(parent, 0), name)`);
    await runner.query(`create index accounts_parent on accounts (parent)`);
    await runner.query(`
      create table limits (
        limit_id bigint primary key default nextval('account_seq'),
        account_id bigint not null references accounts,
        unit smallint not null check (unit between 1 and 3),
        amount bigint not null check (amount between 0 and 1000000000000000),
        period smallint not null check (period between 0 and 5),
        zone text not null,
        -- The first day of a week, by its ISO number.
        week_start smallint not null check (week_start between 1 and 7),
        soft_percent smallint not null check (soft_percent between 0 and 100),
        hard boolean not null,
        -- More until a time.
        extra bigint not null default 0 check (extra between 0 and 1000000000000000),
        extra_until timestamptz,
        create_time timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`create unique index limits_kind on limits (account_id, unit, period, zone, hard)`);
    // Rows of one time lie together, so old ones leave whole pages.
    await runner.query(`create sequence row_seq`);
    await runner.query(`
      create table periods (
        row_id bigint primary key,
        limit_id bigint not null,
        account_id bigint not null,
        starts timestamptz not null,
        ends timestamptz not null,
        used bigint not null default 0,
        -- The limit's amount, and what this period was topped up by.
        ceiling bigint not null,
        soft bigint not null,
        extra bigint not null,
        extra_until timestamptz,
        unit smallint not null,
        hard boolean not null,
        unique (limit_id, starts)
      ) with (fillfactor = 50)`);
    await runner.query(`
      create table charge_sets (
        set_id bigint primary key,
        account_id bigint not null,
        starts timestamptz not null,
        ends timestamptz not null,
        rows bigint[] not null
      )`);
    await runner.query(`
      -- A cache: which set a caller is charged to now. May be emptied at any time; set 0: the tenant has no accounts.
      create table leaf_current (
        tenant text collate "C" not null,
        reference text collate "C" not null,
        set_id bigint not null,
        account_id bigint not null,
        starts timestamptz not null,
        ends timestamptz not null,
        primary key (tenant, reference)
      ) with (fillfactor = 70)`);
    await runner.query(`create sequence event_seq`);
    await runner.query(`
      -- The outbox: what somebody may want to be told, written with what caused it. Ids are in the order of commits, since whoever
      -- writes holds the row of settings. Kinds: 1 the soft mark was crossed, 2 exhausted, 3 settled above a reservation,
      -- 4 a node rests. The first three once a row.
      create table budget_events (
        event_id bigint primary key default nextval('event_seq'),
        kind smallint not null,
        at timestamptz not null,
        batch bigint not null,
        tenant text collate "C",
        account_id bigint,
        limit_id bigint,
        row_id bigint,
        node_id text collate "C",
        used bigint,
        ceiling bigint,
        detail jsonb
      )`);
    await runner.query(
      `create unique index budget_events_once on budget_events (row_id, kind) where row_id is not null`,
    );
    await runner.query(`
      -- The ledger of accounts and limits: what was changed, by whom; numbered with the batches, so that the ledger can be replayed.
      create table budget_changes (
        batch bigint not null,
        at timestamptz not null,
        action text not null,
        tenant text collate "C" not null,
        account_id bigint,
        limit_id bigint,
        -- The row of the running period, and its ceiling before and after.
        row_id bigint,
        ceiling_before bigint,
        ceiling_after bigint,
        extra_before bigint,
        extra_after bigint,
        extra_until_before timestamptz,
        extra_until_after timestamptz,
        actor_tenant text not null,
        actor text not null,
        detail jsonb
      )`);
    await runner.query(`create index budget_changes_row on budget_changes (row_id, batch)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `drop table budget_changes, budget_events, leaf_current, charge_sets, periods, limits, accounts`,
    );
    await runner.query(`drop sequence event_seq, row_seq, account_seq`);
    await runner.query(`alter table ledger_opening drop column cost_delta, drop column set_id, drop column requests`);
    await runner.query(`alter table ledger drop column cost_delta, drop column set_id, drop column window_start`);
    await runner.query(`
      alter table allocations
        drop column set_id, drop column cost, drop column settled_cost, drop column window_start, drop column labels,
        add constraint allocations_check check (settled between 0 and token_count) not valid`);
    await runner.query(`
      alter table nodes
        drop column pool, drop column window_seconds, drop column window_limit, drop column window_start,
        drop column window_used, drop column rest_until, drop column rest_reason`);
    await runner.query(`alter table settings drop column accounted`);
  }
}
