import type { MigrationInterface, QueryRunner } from 'typeorm';

export class GuestsAndAudit1764000000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table throttles (
        -- A dimension and what was counted in it, for example account/default/3fa9….
        key text primary key,
        failures integer not null,
        blocked_until timestamptz not null,
        changed_at timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`create index throttles_by_change on throttles (changed_at)`);
    await runner.query(`
      create table guest_devices (
        tenant text not null references tenants (id),
        -- A hash: what the client calls its device works like a password.
        device text not null,
        -- Refusals since the last token, and what they have earned.
        refusals integer not null default 0,
        blocked_until timestamptz not null default '-infinity',
        -- The token that is alive, encrypted, and whom it may be returned to.
        sealed_token bytea,
        token_until timestamptz not null default '-infinity',
        session_id uuid,
        address text not null default '',
        changed_at timestamptz not null default clock_timestamp(),
        primary key (tenant, device)
      )`);
    await runner.query(`create index guest_devices_by_change on guest_devices (changed_at)`);
    await runner.query(`
      create table guest_attempts (
        id bigint generated always as identity primary key,
        at timestamptz not null default clock_timestamp(),
        tenant text not null,
        device text not null,
        address text not null,
        cause text not null,
        -- issued, returned, refused:<limit>, or failed:<code> when it came to no decision
        outcome text not null
      )`);
    await runner.query(`create index guest_attempts_by_time on guest_attempts (at)`);
    for (const [name, column] of [
      ['device', 'tenant, device'],
      ['address', 'address'],
    ]) {
      await runner.query(
        `create index guest_issues_by_${name} on guest_attempts (${column}, at) where outcome = 'issued'`,
      );
    }
    await runner.query(`
      create table audit_events (
        id bigint generated always as identity primary key,
        at timestamptz not null default clock_timestamp(),
        tenant text not null,
        action text not null,
        outcome text not null,
        actor text not null default '',
        subject text not null default '',
        session_id text not null default '',
        address text not null default '',
        trace_id text not null default ''
      )`);
    await runner.query(`create index audit_events_by_time on audit_events (at)`);
    await runner.query(`create index audit_events_of_tenant on audit_events (tenant, id)`);
    await runner.query(`create index audit_events_of_user on audit_events (tenant, subject, id)`);
    await runner.query(`
      create function refuse_change() returns trigger language plpgsql as $$
      begin
        raise exception 'audit events are never changed';
      end $$`);
    await runner.query(`
      create trigger audit_events_stay before update or truncate on audit_events
      for each statement execute function refuse_change()`);
    await runner.query(`
      create function refuse_deletion() returns trigger language plpgsql as $$
      begin
        if old.at > clock_timestamp() - interval '1 day' then
          raise exception 'audit events of the last day are never deleted';
        end if;
        return old;
      end $$`);
    await runner.query(`
      create trigger audit_events_last before delete on audit_events
      for each row execute function refuse_deletion()`);
    await runner.query(`
      create function notify_revocation() returns trigger language plpgsql as $$
      begin
        perform pg_notify('sluice_revocations', new.id || ' ' || extract(epoch from new.revoked_at) * 1000);
        return null;
      end $$`);
    await runner.query(`
      create trigger sessions_notify_revocation after update of revoked_at on sessions for each row
      when (old.revoked_at is null and new.revoked_at is not null) execute function notify_revocation()`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop trigger sessions_notify_revocation on sessions');
    for (const table of ['audit_events', 'guest_attempts', 'guest_devices', 'throttles']) {
      await runner.query(`drop table ${table}`);
    }
    for (const name of ['notify_revocation', 'refuse_deletion', 'refuse_change']) {
      await runner.query(`drop function ${name}()`);
    }
  }
}
