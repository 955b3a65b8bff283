import { type Caller, execute, statement } from '@sluice/storage';
import type { DataSource, EntityManager } from 'typeorm';

/** One text of a key, as it is shown once it cannot be read any more. */
export interface ApiKeyTextRow {
  readonly prefix: string;
  readonly last_four: string;
  /** In milliseconds since the epoch. */
  readonly created_ms: number;
  readonly expires_ms: number | null;
}

export interface ApiKeyRow {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly user_id: string | null;
  readonly account_id: string | null;
  readonly environment: string;
  readonly roles: string[];
  readonly scopes: string[];
  readonly methods: string[];
  readonly models: string[];
  readonly networks: string[];
  readonly account: string;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly last_used_at: Date | null;
  /** Those that work, the latest first. */
  readonly texts: readonly ApiKeyTextRow[];
}

const columns = `k.id, k.tenant, k.name, k.user_id, k.account_id, k.environment, k.roles, k.scopes, k.methods, k.models, k.networks, k.account,
  k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
  coalesce((select jsonb_agg(jsonb_build_object('prefix', t.prefix, 'last_four', t.last_four,
      'created_ms', (extract(epoch from t.created_at) * 1000)::float8, 'expires_ms', (extract(epoch from t.expires_at) * 1000)::float8)
      order by t.created_at desc)
    from api_key_texts t where t.key_id = k.id and coalesce(t.expires_at, 'infinity') > clock_timestamp()), '[]') as texts`;

/** What the gateway is told of a key. */
export interface VerifiedKeyRow {
  readonly id: string;
  readonly revoked: boolean;
  readonly expired: boolean;
  readonly owner_locked: boolean;
  readonly tenant_closed: boolean;
  readonly subject: string;
  readonly tenant: string;
  readonly roles: string[];
  readonly scopes: string[];
  readonly methods: string[];
  readonly models: string[];
  readonly networks: string[];
  readonly account: string;
  readonly email_verified: boolean;
  readonly expires_ms: number | null;
}

/** Roles and scopes are those that the owner has still. When a key was last used is written down once a minute at most. */
const verify = statement<VerifiedKeyRow>(
  'api-key-verify',
  `with found as (
     select k.id, k.revoked_at is not null as revoked,
       least(k.expires_at, t.expires_at) <= clock_timestamp() as expired,
       coalesce(u.locked_at, u.delete_at, a.locked_at) is not null as owner_locked,
       tenants.delete_at is not null as tenant_closed,
       coalesce(k.user_id, k.account_id) as subject, k.tenant,
       array(select unnest(k.roles) intersect select unnest(coalesce(u.roles, a.roles)) order by 1) as roles,
       case when a.id is null then k.scopes
         else array(select unnest(k.scopes) intersect select unnest(a.scopes) order by 1) end as scopes,
       k.methods, k.models, k.networks, k.account, u.id is null or u.email_verified_at is not null as email_verified,
       (extract(epoch from least(k.expires_at, t.expires_at)) * 1000)::float8 as expires_ms, k.last_used_at
     from api_key_texts t join api_keys k on k.id = t.key_id join tenants on tenants.id = k.tenant
       left join users u on u.id = k.user_id left join service_accounts a on a.id = k.account_id
     where t.digest = $1
   ), used as (
     update api_keys k set last_used_at = clock_timestamp() from found f
     where k.id = f.id and not f.revoked and coalesce(f.last_used_at, '-infinity') < clock_timestamp() - interval '1 minute'
   )
   select id, revoked, coalesce(expired, false) as expired, owner_locked, tenant_closed, subject, tenant, roles, scopes, methods, models,
     networks, account, email_verified, expires_ms from found`,
);

const findKey = statement<ApiKeyRow>(
  'api-key-find',
  `select ${columns} from api_keys k where k.tenant = $1 and k.id = $2`,
);

/** $3: of this owner, or of the whole tenant when null. Of two made at the same time the greater id comes first. */
const listKeys = statement<ApiKeyRow>(
  'api-key-list',
  `select ${columns} from api_keys k
   where k.tenant = $1 and ($3::uuid is null or k.user_id = $3 or k.account_id = $3)
     and ($2::uuid is null or (k.created_at, k.id) < (select b.created_at, b.id from api_keys b where b.tenant = $1 and b.id = $2))
   order by k.created_at desc, k.id desc limit $4`,
);

const renameKey = statement<{ id: string }>(
  'api-key-rename',
  `update api_keys set name = $3 where tenant = $1 and id = $2 returning id`,
);

/** Whom a new key would act for, held until the transaction ends; locked owners are there, too. */
export interface KeyOwner {
  readonly kind: 'user' | 'service_account';
  readonly roles: string[];
  /** Undefined: a user, whom no list of scopes bounds. */
  readonly scopes: string[] | null;
  readonly locked: boolean;
  readonly guest: boolean;
}

export interface NewApiKey {
  readonly id: string;
  readonly tenant: string;
  readonly ownerId: string;
  readonly ownerKind: KeyOwner['kind'];
  readonly name: string;
  readonly environment: string;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly methods: readonly string[];
  readonly models: readonly string[];
  readonly networks: readonly string[];
  readonly account: string;
  /** 0: never. */
  readonly expiresInSeconds: number;
}

/** What is kept of a text. */
export interface NewApiKeyText {
  readonly digest: Buffer;
  readonly prefix: string;
  readonly lastFour: string;
}

/** The statements of tables `api_keys` and `api_key_texts`; every one is bound to a tenant, or to the digest of a text. */
export const apiKeyStore = {
  async verify(dataSource: DataSource, call: Caller, digest: Buffer): Promise<VerifiedKeyRow | undefined> {
    const [row] = await execute(dataSource, call, verify, [digest]);
    return row;
  },

  async find(dataSource: DataSource, call: Caller, tenant: string, id: string): Promise<ApiKeyRow | undefined> {
    const [row] = await execute(dataSource, call, findKey, [tenant, id]);
    return row;
  },

  list(
    dataSource: DataSource,
    call: Caller,
    tenant: string,
    before: string | null,
    owner: string | null,
    limit: number,
  ) {
    return execute(dataSource, call, listKeys, [tenant, before, owner, limit]);
  },

  async rename(dataSource: DataSource, call: Caller, tenant: string, id: string, name: string): Promise<boolean> {
    return (await execute(dataSource, call, renameKey, [tenant, id, name])).length > 0;
  },

  /** Exclusively, so that keys of one owner are counted and made one after the other. */
  async holdOwner(manager: EntityManager, tenant: string, id: string): Promise<KeyOwner | undefined> {
    const [user] = await manager.query<{ roles: string[]; locked: boolean; guest: boolean }[]>(
      `select roles, coalesce(locked_at, delete_at) is not null as locked, guest from users where tenant = $1 and id = $2 for no key update`,
      [tenant, id],
    );
    if (user) return { kind: 'user', scopes: null, ...user };
    const [account] = await manager.query<{ roles: string[]; scopes: string[]; locked: boolean }[]>(
      `select roles, scopes, locked_at is not null as locked from service_accounts
       where tenant = $1 and id = $2 for no key update`,
      [tenant, id],
    );
    return account && { kind: 'service_account', guest: false, ...account };
  },

  /** Keys of an owner that are neither revoked nor expired. */
  async countWithin(manager: EntityManager, ownerId: string): Promise<number> {
    const [row] = await manager.query<[{ count: number }]>(
      `select count(*)::int as count from api_keys where (user_id = $1 or account_id = $1) and revoked_at is null
         and coalesce(expires_at, 'infinity') > clock_timestamp()`,
      [ownerId],
    );
    return row.count;
  },

  async insertWithin(manager: EntityManager, key: NewApiKey, text: NewApiKeyText): Promise<void> {
    await manager.query(
      `insert into api_keys (id, tenant, user_id, account_id, name, environment, roles, scopes, methods, models, networks, account, expires_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
         case when $13::int > 0 then clock_timestamp() + $13::int * interval '1 second' end)`,
      [
        ...[key.id, key.tenant],
        ...(key.ownerKind === 'user' ? [key.ownerId, null] : [null, key.ownerId]),
        ...[key.name, key.environment, key.roles, key.scopes, key.methods, key.models, key.networks, key.account],
        key.expiresInSeconds,
      ],
    );
    await apiKeyStore.addTextWithin(manager, key.id, text);
  },

  async addTextWithin(manager: EntityManager, keyId: string, { digest, prefix, lastFour }: NewApiKeyText) {
    await manager.query('insert into api_key_texts (digest, key_id, prefix, last_four) values ($1, $2, $3, $4)', [
      digest,
      keyId,
      prefix,
      lastFour,
    ]);
  },

  /** The environment of a key that works, held until the transaction ends. */
  async holdWithin(manager: EntityManager, tenant: string, id: string): Promise<string | undefined> {
    const [row] = await manager.query<{ environment: string }[]>(
      `select environment from api_keys where tenant = $1 and id = $2 and revoked_at is null
         and coalesce(expires_at, 'infinity') > clock_timestamp() for update`,
      [tenant, id],
    );
    return row?.environment;
  },

  /** Ends the texts of a key after the overlap, or those that are in an overlap already at their time. Gateways are told to ask again. */
  async endTextsWithin(manager: EntityManager, keyId: string, overlapSeconds: number): Promise<void> {
    await manager.query(
      `update api_key_texts set expires_at = least(expires_at, clock_timestamp() + $2::int * interval '1 second') where key_id = $1`,
      [keyId, overlapSeconds],
    );
    await manager.query(`insert into ended_credentials (name, changed) values ('key:' || $1::text, $2)`, [
      keyId,
      overlapSeconds > 0,
    ]);
    await manager.query(`select pg_notify('sluice_revocations', '')`);
  },

  /** @returns whether it was not revoked before */
  async revokeWithin(manager: EntityManager, tenant: string, id: string): Promise<boolean> {
    const [rows] = await manager.query<[unknown[], number]>(
      `update api_keys set revoked_at = clock_timestamp() where tenant = $1 and id = $2 and revoked_at is null returning id`,
      [tenant, id],
    );
    return rows.length > 0;
  },
};
