import { type Caller, execute, statement } from '@sluice/storage';
import type { DataSource, EntityManager } from 'typeorm';
import type { LinkPurpose } from '../mail/mail-kinds.js';

/** A link that works. */
export interface LinkRow {
  /** A user, a registration, a change of address or an invitation. */
  readonly owner: string;
  readonly purpose: LinkPurpose;
}

const findLink = statement<LinkRow>(
  'link-find',
  `select owner, purpose from account_links where token_hash = $1 and purpose = any($2) and expires_at > clock_timestamp()`,
);

/** The statements of table `account_links`. Whoever uses a link locks its user first, and the link after. */
export const linkStore = {
  /** @returns undefined for a link that does not work */
  async find(dataSource: DataSource, call: Caller, hash: Buffer, purposes: readonly LinkPurpose[]) {
    const [row] = await execute(dataSource, call, findLink, [hash, purposes]);
    return row;
  },

  /** Of all who use a link at once one does. @returns undefined for the others */
  async use(manager: EntityManager, hash: Buffer, purposes: readonly LinkPurpose[]): Promise<LinkRow | undefined> {
    const [rows] = await manager.query<[LinkRow[], number]>(
      `delete from account_links where token_hash = $1 and purpose = any($2) and expires_at > clock_timestamp()
       returning owner, purpose`,
      [hash, purposes],
    );
    return rows[0];
  },

  /** A new link; the former one of the owner for this purpose works no more. */
  async put(
    manager: Pick<EntityManager, 'query'>,
    owner: string,
    purpose: LinkPurpose,
    hash: Buffer,
    seconds: number,
  ): Promise<void> {
    await manager.query(
      `insert into account_links (owner, purpose, token_hash, expires_at)
       values ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
       on conflict (owner, purpose) do update set token_hash = excluded.token_hash, expires_at = excluded.expires_at`,
      [owner, purpose, hash, seconds],
    );
  },

  async withdraw(manager: EntityManager, owners: readonly string[], purposes?: readonly LinkPurpose[]): Promise<void> {
    await manager.query(
      'delete from account_links where owner = any($1) and ($2::text[] is null or purpose = any($2))',
      [owners, purposes ?? null],
    );
  },
};
