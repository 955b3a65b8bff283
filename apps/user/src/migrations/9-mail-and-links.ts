import type { MigrationInterface, QueryRunner } from 'typeorm';

export class MailAndLinks1764000000009 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      alter table users
        add column email_verified_at timestamptz,
        -- The next login must choose another password.
        add column password_expired boolean not null default false,
        -- When the account is deleted; sessions have ended long before.
        add column delete_at timestamptz`);
    // The installation itself made the first operator, at an address that need not have a mailbox.
    await runner.query(`update users set email_verified_at = clock_timestamp() where 'operator' = any(roles)`);
    await runner.query(`create index users_by_deletion on users (delete_at) where delete_at is not null`);
    await runner.query(`
      alter table tenants
        -- When an export of everything came to its end.
        add column exported_at timestamptz,
        add column delete_at timestamptz`);
    await runner.query(`
      create table registrations (
        -- Of an address whose account has not proved that the address is its own: whoever proves it gets the address.
        id uuid primary key,
        tenant text not null references tenants (id) on delete cascade,
        email text not null,
        email_key text not null,
        password_hash text not null,
        display_name text not null,
        expires_at timestamptz not null
      )`);
    await runner.query(`create index registrations_by_end on registrations (expires_at)`);
    await runner.query(`create index registrations_by_email on registrations (tenant, email_key)`);
    await runner.query(`
      create table email_changes (
        user_id uuid primary key references users (id) on delete cascade,
        id uuid not null,
        email text not null,
        email_key text not null,
        old_confirmed boolean not null default false,
        new_confirmed boolean not null default false,
        expires_at timestamptz not null
      )`);
    await runner.query(`create index email_changes_by_end on email_changes (expires_at)`);
    await runner.query(`
      create table invitations (
        id uuid primary key,
        tenant text not null references tenants (id) on delete cascade,
        email text not null,
        email_key text not null,
        roles text[] not null,
        created_at timestamptz not null default clock_timestamp(),
        expires_at timestamptz not null,
        unique (tenant, email_key)
      )`);
    await runner.query(`create index invitations_by_end on invitations (expires_at)`);
    await runner.query(`
      create table account_links (
        -- Whom or what the link is for: a user, a registration, a change of address, an invitation. One link of a purpose at a time.
        owner uuid not null,
        purpose text not null,
        -- SHA-256 of the token: the token itself is in the mail alone.
        token_hash bytea not null unique,
        expires_at timestamptz not null,
        primary key (owner, purpose)
      )`);
    await runner.query(`create index account_links_by_end on account_links (expires_at)`);
    await runner.query(`
      create table mail_outbox (
        id bigint generated always as identity primary key,
        kind text not null,
        tenant text not null,
        -- Whom or what the mail is about; its link, with a token, is made when it is sent. Nil: the account of this address, if there is one.
        owner uuid not null,
        email text not null,
        email_key text not null,
        attempts integer not null default 0,
        due_at timestamptz not null default clock_timestamp(),
        created_at timestamptz not null default clock_timestamp(),
        -- A mail that waits is not asked for twice.
        unique (email_key, tenant, kind, owner)
      )`);
    await runner.query(`create index mail_outbox_by_due on mail_outbox (due_at)`);
    await runner.query(`
      create table mail_pace (
        -- An address, or an address and who asks, both as a hash; the theoretical arrival time of GCRA.
        key text primary key,
        due_at timestamptz not null
      )`);
    await runner.query(`create index mail_pace_by_due on mail_pace (due_at)`);
    await this.letAddressesGo(runner);
  }

  /** Audit events stay, but the network address of one about an account that exists no more may be taken out: no personal data is left. */
  private async letAddressesGo(runner: QueryRunner): Promise<void> {
    await runner.query('drop trigger audit_events_stay on audit_events');
    await runner.query(`
      create function refuse_audit_change() returns trigger language plpgsql as $$
      begin
        old.address := '';
        if new is distinct from old or exists (select from users where id::text in (new.subject, new.actor)) then
          raise exception 'audit events are never changed';
        end if;
        return new;
      end $$`);
    await runner.query(`
      create trigger audit_events_stay before update on audit_events
      for each row execute function refuse_audit_change()`);
    await runner.query(`
      create trigger audit_events_not_truncated before truncate on audit_events
      for each statement execute function refuse_change()`);
    await runner.query(
      `create index audit_events_of_actor on audit_events (actor) where actor <> '' and address <> ''`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop index audit_events_of_actor');
    await runner.query('drop trigger audit_events_not_truncated on audit_events');
    await runner.query('drop trigger audit_events_stay on audit_events');
    await runner.query('drop function refuse_audit_change()');
    await runner.query(`
      create trigger audit_events_stay before update or truncate on audit_events
      for each statement execute function refuse_change()`);
    for (const table of [
      'mail_pace',
      'mail_outbox',
      'account_links',
      'invitations',
      'email_changes',
      'registrations',
    ]) {
      await runner.query(`drop table ${table}`);
    }
    await runner.query('alter table tenants drop column exported_at, drop column delete_at');
    await runner.query(
      'alter table users drop column email_verified_at, drop column password_expired, drop column delete_at',
    );
  }
}
