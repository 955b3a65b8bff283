import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AccountsAndSessions1764000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table tenants (
        id text primary key check (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
        name text not null,
        open_registration boolean not null default true,
        created_at timestamptz not null default clock_timestamp()
      )`);
    await runner.query(`
      create table users (
        id uuid primary key,
        tenant text not null references tenants (id),
        -- As the user wrote it, and as it is compared; both absent for a guest.
        email text,
        email_key text,
        password_hash text,
        display_name text not null default '',
        roles text[] not null default '{}',
        guest boolean not null default false,
        locked_at timestamptz,
        created_at timestamptz not null default clock_timestamp(),
        unique (tenant, email_key),
        check (guest = (email_key is null) and guest = (password_hash is null))
      )`);
    // No index but the keys covers a column that a rotation changes, so rotations stay within their page (HOT updates).
    await runner.query(`
      create table sessions (
        id uuid primary key,
        tenant text not null references tenants (id),
        user_id uuid not null references users (id) on delete cascade,
        generation integer not null default 1,
        rotated_at timestamptz not null default clock_timestamp(),
        idle_until timestamptz not null,
        absolute_until timestamptz not null,
        revoked_at timestamptz,
        revoked_because text,
        device text not null default '',
        address text not null default '',
        created_at timestamptz not null default clock_timestamp()
      ) with (fillfactor = 80)`);
    await runner.query(`create index sessions_by_user on sessions (user_id)`);
    await runner.query(`create index sessions_by_end on sessions (absolute_until)`);
    await runner.query(`create index sessions_revoked on sessions (revoked_at) where revoked_at is not null`);
    await runner.query(`
      create table signing_keys (
        kid text primary key,
        state text not null check (state in ('next', 'current', 'previous')),
        public_x text not null,
        public_y text not null,
        private_sealed bytea not null,
        created_at timestamptz not null default clock_timestamp(),
        activated_at timestamptz,
        -- When a verifier may forget it: the last token that it signed has expired.
        verify_until timestamptz
      )`);
    await runner.query(
      `create unique index signing_keys_one_of_each on signing_keys (state) where state <> 'previous'`,
    );
    await runner.query(`
      create table sealed_secrets (
        name text primary key,
        sealed bytea not null,
        created_at timestamptz not null default clock_timestamp()
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['sealed_secrets', 'signing_keys', 'sessions', 'users', 'tenants']) {
      await runner.query(`drop table ${table}`);
    }
  }
}
