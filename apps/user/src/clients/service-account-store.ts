import { type Caller, execute, statement } from '@sluice/storage';
import type { DataSource, EntityManager } from 'typeorm';

export interface ServiceAccountRow {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly roles: string[];
  readonly scopes: string[];
  readonly audiences: string[];
  readonly locked_at: Date | null;
  readonly token_epoch: number;
  readonly created_at: Date;
  readonly last_used_at: Date | null;
  readonly secrets: readonly { id: string; last_four: string; created_ms: number; expires_ms: number | null }[];
  readonly public_keys: readonly { kid: string; alg: string; created_ms: number }[];
}

const ms = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`;
const columns = `a.id, a.tenant, a.name, a.roles, a.scopes, a.audiences, a.locked_at, a.token_epoch, a.created_at, a.last_used_at,
  coalesce((select jsonb_agg(jsonb_build_object('id', s.id, 'last_four', s.last_four, 'created_ms', ${ms('s.created_at')},
      'expires_ms', ${ms('s.expires_at')}) order by s.created_at)
    from client_secrets s where s.account_id = a.id and coalesce(s.expires_at, 'infinity') > clock_timestamp()), '[]') as secrets,
  coalesce((select jsonb_agg(jsonb_build_object('kid', p.kid, 'alg', p.alg, 'created_ms', ${ms('p.created_at')}) order by p.created_at)
    from client_keys p where p.account_id = a.id), '[]') as public_keys`;

const findAccount = statement<ServiceAccountRow>(
  'service-account-find',
  `select ${columns} from service_accounts a where a.tenant = $1 and a.id = $2`,
);
const listAccounts = statement<ServiceAccountRow>(
  'service-account-list',
  `select ${columns} from service_accounts a where a.tenant = $1 and a.id > $2 order by a.id limit $3`,
);

/** What a client shows itself by, and what it is granted. */
export interface ClientRow {
  readonly id: string;
  readonly tenant: string;
  readonly tenant_closed: boolean;
  readonly roles: string[];
  readonly scopes: string[];
  readonly audiences: string[];
  readonly locked: boolean;
  readonly token_epoch: number;
  readonly digests: readonly Buffer[];
  readonly keys: readonly { kid: string; alg: string; jwk: Record<string, unknown> }[];
}

const findClient = statement<ClientRow>(
  'client-find',
  `select a.id, a.tenant, tenants.delete_at is not null as tenant_closed, a.roles, a.scopes, a.audiences, a.locked_at is not null as locked, a.token_epoch,
     array(select s.digest from client_secrets s
       where s.account_id = a.id and coalesce(s.expires_at, 'infinity') > clock_timestamp()) as digests,
     coalesce((select jsonb_agg(jsonb_build_object('kid', p.kid, 'alg', p.alg, 'jwk', p.jwk)) from client_keys p
       where p.account_id = a.id), '[]') as keys
   from service_accounts a join tenants on tenants.id = a.tenant where a.id = $1`,
);

const markUsed = statement(
  'client-used',
  `update service_accounts set last_used_at = clock_timestamp()
   where id = $1 and coalesce(last_used_at, '-infinity') < clock_timestamp() - interval '1 minute'`,
);

/** Of all who show an assertion, one inserts it. One whose time is over may be shown by nobody, and gives its place. */
const takeAssertion = statement<{ taken: boolean }>(
  'client-assertion-take',
  `insert into client_assertions as c (digest, expires_at) values ($1, to_timestamp($2::float8 / 1000))
   on conflict (digest) do update set expires_at = excluded.expires_at where c.expires_at < clock_timestamp()
   returning true as taken`,
);

/** The statements of service accounts. Those of administrators are bound to a tenant. */
export const serviceAccountStore = {
  async find(dataSource: DataSource, call: Caller, tenant: string, id: string): Promise<ServiceAccountRow | undefined> {
    const [row] = await execute(dataSource, call, findAccount, [tenant, id]);
    return row;
  },

  list: (dataSource: DataSource, call: Caller, tenant: string, after: string, limit: number) =>
    execute(dataSource, call, listAccounts, [tenant, after, limit]),

  async findClient(dataSource: DataSource, call: Caller, id: string): Promise<ClientRow | undefined> {
    const [row] = await execute(dataSource, call, findClient, [id]);
    return row;
  },

  async markUsed(dataSource: DataSource, call: Caller, id: string): Promise<void> {
    await execute(dataSource, call, markUsed, [id]);
  },

  /** @returns false for an assertion that was shown before, to whichever replica */
  async takeAssertion(dataSource: DataSource, call: Caller, digest: Buffer, expiresAtMs: number): Promise<boolean> {
    return (await execute(dataSource, call, takeAssertion, [digest, expiresAtMs])).length > 0;
  },

  /** The roles of an account, which is held until the transaction ends. */
  async holdRoles(manager: EntityManager, tenant: string, id: string): Promise<readonly string[] | undefined> {
    const [row] = await manager.query<{ roles: string[] }[]>(
      `select roles from service_accounts where tenant = $1 and id = $2 for update`,
      [tenant, id],
    );
    return row?.roles;
  },
};
