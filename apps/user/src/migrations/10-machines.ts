import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Service accounts, API keys, and the list of what ended by which gateways forget them. */
export class Machines1764000000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table service_accounts (
        id uuid primary key,
        tenant text not null references tenants (id) on delete cascade,
        name text not null,
        roles text[] not null default '{}',
        scopes text[] not null default '{}',
        audiences text[] not null,
        locked_at timestamptz,
        -- Part of the sid of its tokens; grows with what ends them.
        token_epoch integer not null default 1,
        created_at timestamptz not null default clock_timestamp(),
        last_used_at timestamptz,
        unique (tenant, name)
      )`);
    await runner.query(`
      create table client_secrets (
        id uuid primary key,
        account_id uuid not null references service_accounts (id) on delete cascade,
        digest bytea not null,
        last_four text not null,
        created_at timestamptz not null default clock_timestamp(),
        expires_at timestamptz
      )`);
    await runner.query(`create index client_secrets_of_account on client_secrets (account_id)`);
    await runner.query(`
      create table client_keys (
        account_id uuid not null references service_accounts (id) on delete cascade,
        kid text not null,
        alg text not null,
        jwk jsonb not null,
        created_at timestamptz not null default clock_timestamp(),
        primary key (account_id, kid)
      )`);
    await runner.query(`
      create table client_assertions (
        -- Of account and jti.
        digest bytea primary key,
        expires_at timestamptz not null
      )`);
    await runner.query(`create index client_assertions_by_expiry on client_assertions (expires_at)`);
    await runner.query(`
      create table api_keys (
        id uuid primary key,
        tenant text not null references tenants (id) on delete cascade,
        user_id uuid references users (id) on delete cascade,
        account_id uuid references service_accounts (id) on delete cascade,
        name text not null,
        environment text not null check (environment in ('live', 'test')),
        roles text[] not null,
        scopes text[] not null,
        methods text[] not null,
        models text[] not null,
        networks text[] not null,
        -- Of budgets.
        account text not null default '',
        created_at timestamptz not null default clock_timestamp(),
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz,
        check (num_nonnulls(user_id, account_id) = 1)
      )`);
    await runner.query(`create index api_keys_of_tenant on api_keys (tenant, created_at, id)`);
    await runner.query(`create index api_keys_of_user on api_keys (user_id) where user_id is not null`);
    await runner.query(`create index api_keys_of_account on api_keys (account_id) where account_id is not null`);
    await runner.query(`
      create table api_key_texts (
        -- SHA-256 of the text.
        digest bytea primary key,
        key_id uuid not null references api_keys (id) on delete cascade,
        prefix text not null,
        last_four text not null,
        created_at timestamptz not null default clock_timestamp(),
        expires_at timestamptz
      )`);
    await runner.query(`create index api_key_texts_of_key on api_key_texts (key_id)`);
    await runner.query(`
      create table ended_credentials (
        id bigint generated always as identity primary key,
        -- svc:<account>:<epoch>, as the sid of tokens, or key:<id>.
        name text not null,
        -- A key that works on, in another way.
        changed boolean not null,
        at timestamptz not null default clock_timestamp(),
        until timestamptz not null default clock_timestamp() + interval '1 day'
      )`);
    await runner.query(`create index ended_credentials_by_time on ended_credentials (at)`);
    for (const [name, statements] of endings) {
      await runner.query(`
        create function ${name}() returns trigger language plpgsql as $$
        begin
          ${statements}
          return coalesce(new, old);
        end $$`);
    }
    for (const [name, when, run] of triggers) {
      await runner.query(`create trigger ${name} ${when} execute function ${run}()`);
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const [name, when] of triggers) {
      await runner.query(`drop trigger ${name} on ${/ on (\w+)/.exec(when)?.[1]}`);
    }
    for (const [name] of endings) await runner.query(`drop function ${name}()`);
    for (const table of ['ended_credentials', 'api_key_texts', 'api_keys', 'client_assertions', 'client_keys']) {
      await runner.query(`drop table ${table}`);
    }
    await runner.query('drop table client_secrets');
    await runner.query('drop table service_accounts');
  }
}

const WAKE = `perform pg_notify('sluice_revocations', '');`;
const endKeys = (where: string) =>
  `insert into ended_credentials (name, changed) select 'key:' || k.id, false from api_keys k where ${where} and k.revoked_at is null;`;

/** Whatever ends a credential, by whichever way, is written down in the same transaction. */
const endings: readonly (readonly [string, string])[] = [
  ['end_key', `insert into ended_credentials (name, changed) values ('key:' || old.id, false); ${WAKE}`],
  ['end_keys_of_user', `${endKeys('k.user_id = old.id')} ${WAKE}`],
  [
    'end_machines_of_tenant',
    `${endKeys('k.tenant = old.id')}
     update service_accounts set token_epoch = token_epoch + 1 where tenant = old.id; ${WAKE}`,
  ],
  ['begin_token_epoch', `new.token_epoch := old.token_epoch + 1;`],
  [
    'end_service_account',
    `insert into ended_credentials (name, changed) values ('svc:' || old.id || ':' || old.token_epoch, false);
     ${endKeys('k.account_id = old.id')} ${WAKE}`,
  ],
];

/** Name, event and row, function. */
const triggers: readonly (readonly [string, string, string])[] = [
  [
    'api_keys_end',
    `after update on api_keys for each row when ((old.revoked_at, old.roles, old.scopes, old.methods, old.models, old.networks,
       old.expires_at) is distinct from (new.revoked_at, new.roles, new.scopes, new.methods, new.models, new.networks, new.expires_at))`,
    'end_key',
  ],
  ['api_keys_deleted', 'after delete on api_keys for each row', 'end_key'],
  [
    'users_end_keys',
    `after update on users for each row
       when ((old.locked_at is null, old.delete_at is null, old.roles)
         is distinct from (new.locked_at is null, new.delete_at is null, new.roles))`,
    'end_keys_of_user',
  ],
  [
    'tenants_end_machines',
    'after update on tenants for each row when ((old.delete_at is null) <> (new.delete_at is null))',
    'end_machines_of_tenant',
  ],
  [
    'service_accounts_epoch',
    `before update on service_accounts for each row when ((old.locked_at is null, old.roles, old.scopes, old.audiences)
       is distinct from (new.locked_at is null, new.roles, new.scopes, new.audiences))`,
    'begin_token_epoch',
  ],
  [
    'service_accounts_end',
    'after update on service_accounts for each row when (old.token_epoch <> new.token_epoch)',
    'end_service_account',
  ],
  ['service_accounts_deleted', 'before delete on service_accounts for each row', 'end_service_account'],
];
