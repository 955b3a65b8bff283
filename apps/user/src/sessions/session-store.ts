import type { DataSource, EntityManager } from 'typeorm';
import { type Caller, execute, statement, transaction } from '@sluice/storage';

/** Who a session belongs to, as the next access token will say it. */
export interface SessionOwner {
  readonly session_id: string;
  readonly generation: number;
  readonly absolute_until: Date;
  /** How long an access token that is signed now may live: revocations and keys are kept no longer than that. */
  readonly tokens_left_seconds: number;
  readonly user_id: string;
  readonly tenant: string;
  readonly roles: string[];
  readonly guest: boolean;
  readonly email_verified: boolean;
}

/** What stands in the way of rotating, or that nothing does but another rotation that came first. */
export interface SessionStanding extends SessionOwner {
  /** Not revoked, not expired, and its user not locked. */
  readonly alive: boolean;
  readonly within_grace: boolean;
  /** How long until the session may rotate again, in milliseconds; not above 0 when it may. */
  readonly rotation_wait_ms: number;
}

/** How rotations of one session are bounded, and how long it and its access tokens live without one. */
export interface RotationBounds {
  readonly idleSeconds: number;
  readonly tokenSeconds: number;
  readonly perMinute: number;
}

const owner = `s.id as session_id, s.generation, s.absolute_until, s.user_id, s.tenant, u.roles, u.guest,
  u.email_verified_at is not null as email_verified,
  extract(epoch from s.tokens_until - clock_timestamp())::float8 as tokens_left_seconds`;
const later = (parameter: string) => `clock_timestamp() + ${parameter} * interval '1 second'`;

/**
 * Begins a session under a share lock of its user, so that it has one of two places beside whatever ends all sessions of the user:
 * before it, and then it is among those that end; or after it, and then it sees what changed. The user is read once, as it was
 * when the lock was given: the snapshot of the statement may be older.
 */
const insertSession = statement<SessionOwner>(
  'session-insert',
  `with u as (
     select id, tenant, roles, guest, email_verified_at from users
     where id = $2 and locked_at is null and delete_at is null and password_version = coalesce($8, password_version) for share
   ), s as (
     insert into sessions (id, tenant, user_id, device, address, idle_until, absolute_until, tokens_until)
     select $1, u.tenant, u.id, $3, $4, least(${later('$5')}, ${later('$6')}), ${later('$6')}, ${later('$7')} from u
     returning *
   ) select ${owner} from s join u on u.id = s.user_id`,
);

/** The pace of GCRA, and how far ahead of it a session may be. */
const pace = (perMinute: string) => `interval '1 minute' / ${perMinute}`;
const burst = (perMinute: string) => `(interval '1 minute' - ${pace(perMinute)})`;

/** The one conditional update that is a rotation: of all who present a generation, one changes the row. */
const rotateSession = statement<SessionOwner>(
  'session-rotate',
  `update sessions s
   set generation = s.generation + 1, rotated_at = clock_timestamp(), idle_until = least(${later('$3')}, s.absolute_until),
     refresh_due = greatest(s.refresh_due, clock_timestamp()) + ${pace('$4::int')},
     tokens_until = greatest(s.tokens_until, ${later('$5')})
   from users u
   where s.id = $1 and s.generation = $2 and s.revoked_at is null and s.idle_until > clock_timestamp()
     and s.refresh_due <= clock_timestamp() + ${burst('$4::int')}
     and u.id = s.user_id and u.locked_at is null and $6 in ('', s.tenant)
   returning ${owner}`,
);

const findSession = statement<SessionStanding>(
  'session-find',
  `select ${owner},
     s.revoked_at is null and s.idle_until > clock_timestamp() and u.locked_at is null as alive,
     clock_timestamp() <= s.rotated_at + $2 * interval '1 second' as within_grace,
     ceil(extract(epoch from s.refresh_due - ${burst('$3::int')} - clock_timestamp()) * 1000)::int as rotation_wait_ms
   from sessions s join users u on u.id = s.user_id where s.id = $1`,
);

const FIND_GUEST = `select ${owner} from sessions s join users u on u.id = s.user_id
   where s.id = $1 and s.revoked_at is null and s.idle_until > clock_timestamp() and u.guest and u.locked_at is null`;

const revokeOne = statement<{ id: string }>(
  'session-revoke',
  `update sessions set revoked_at = clock_timestamp(), revoked_because = $2
   where id = $1 and revoked_at is null returning id`,
);

/** Waits for the sessions of the user that are just beginning, and keeps further ones waiting; a statement of its own, so that the next sees them. */
const LOCK_USER = 'select from users where id = $1 and tenant = $2 for no key update';

/** Rows are locked in the order of their ids, as by everything that ends several sessions. */
const revokeWhere = (which: string) => `update sessions s set revoked_at = clock_timestamp(), revoked_because = $3
   from (
     select id from sessions
     where user_id = $1 and tenant = $2 and revoked_at is null ${which} and greatest(idle_until, tokens_until) > clock_timestamp()
     order by id for update
   ) living
   where s.id = living.id returning s.id`;
const REVOKE_ALL = revokeWhere('');
const REVOKE_OTHERS = revokeWhere('and id <> $4');

/** As a session asks for it: a token that was logged out may live on, but not decide about others. */
const ASKING_SESSION = 'select from sessions where id = $1 and user_id = $2 and tenant = $3 and revoked_at is null';

/** Why a session was ended by force; kept in its row. */
export type RevocationCause =
  | 'logout'
  | 'logout-everywhere'
  | 'revoked'
  | 'refresh-reuse'
  | 'guest-upgrade'
  | 'account-locked'
  | 'roles-changed'
  | 'password-changed'
  | 'ended-by-admin'
  | 'account-deleted'
  | 'tenant-deleted'
  | 'too-many';

const revokeOldest = statement<{ id: string }>(
  'session-revoke-oldest',
  `update sessions s set revoked_at = clock_timestamp(), revoked_because = $3
   from (
     select id from sessions where revoked_at is null and id in (
       select id from sessions where user_id = $1 and revoked_at is null and idle_until > clock_timestamp()
       order by created_at desc, id offset $2)
     order by id for update
   ) oldest
   where s.id = oldest.id returning s.id`,
);

/** A session as its user sees it. */
export interface SessionRow {
  readonly id: string;
  readonly device: string;
  readonly address: string;
  readonly created_at: Date;
  readonly rotated_at: Date;
  readonly idle_until: Date;
}

const listAlive = statement<SessionRow>(
  'session-list',
  `select id, device, address, created_at, rotated_at, idle_until from sessions
   where user_id = $1 and tenant = $2 and revoked_at is null and idle_until > clock_timestamp()
   order by created_at desc limit 200`,
);

const belongsTo = statement<{ id: string }>(
  'session-belongs-to',
  `select id from sessions where id = $1 and user_id = $2 and tenant = $3`,
);

/** What a new session starts with. */
export interface NewSession {
  readonly id: string;
  readonly userId: string;
  /** Of the password that was shown for it; undefined where none was. A password that has been changed meanwhile opens nothing. */
  readonly passwordVersion: number | undefined;
  readonly device: string;
  readonly address: string;
}

/** How long sessions live. */
export interface SessionSeconds {
  readonly idle: number;
  readonly absolute: number;
  /** Of its access tokens. */
  readonly token: number;
}

const newSessionValues = (session: NewSession, seconds: SessionSeconds) => [
  session.id,
  session.userId,
  session.device,
  session.address,
  seconds.idle,
  seconds.absolute,
  seconds.token,
  session.passwordVersion,
];

/** The statements of table `sessions`, one call each. */
export const sessionStore = {
  /** @returns undefined when the user does not exist, is locked, or has another password by now */
  async insert(dataSource: DataSource, call: Caller, session: NewSession, seconds: SessionSeconds) {
    const [row] = await execute(dataSource, call, insertSession, newSessionValues(session, seconds));
    return row;
  },

  async insertWithin(manager: EntityManager, session: NewSession, seconds: SessionSeconds) {
    const [row] = await manager.query<SessionOwner[]>(insertSession.text, newSessionValues(session, seconds));
    return row;
  },

  /** A guest's session that is alive, as its next access token will say it. */
  async findGuestWithin(manager: EntityManager, id: string): Promise<SessionOwner | undefined> {
    const [row] = await manager.query<SessionOwner[]>(FIND_GUEST, [id]);
    return row;
  },

  /** Ends all of the user's sessions but the latest. @returns those that ended */
  async keepLatest(dataSource: DataSource, call: Caller, userId: string, count: number): Promise<string[]> {
    const values = [userId, count, 'too-many' satisfies RevocationCause];
    return (await execute(dataSource, call, revokeOldest, values)).map(({ id }) => id);
  },

  /**
   * @param tenant whose session it must be; empty: anybody's
   * @returns undefined when the session is not alive, or not in this generation, or of another tenant, or rotates too often
   */
  async rotate(
    dataSource: DataSource,
    call: Caller,
    id: string,
    generation: number,
    bounds: RotationBounds,
    tenant: string,
  ) {
    const values = [id, generation, bounds.idleSeconds, bounds.perMinute, bounds.tokenSeconds, tenant];
    const [row] = await execute(dataSource, call, rotateSession, values);
    return row;
  },

  async find(dataSource: DataSource, call: Caller, id: string, graceSeconds: number, perMinute: number) {
    const [row] = await execute(dataSource, call, findSession, [id, graceSeconds, perMinute]);
    return row;
  },

  /** @returns whether the session was not revoked before */
  async revoke(dataSource: DataSource, call: Caller, id: string, because: RevocationCause): Promise<boolean> {
    return (await execute(dataSource, call, revokeOne, [id, because])).length > 0;
  },

  /**
   * Ends every session of the user that begins before the transaction commits. What those that begin later must see (roles, a lock, a
   * new password) is changed in the same transaction.
   *
   * @returns how many sessions ended
   */
  async revokeAllWithin(manager: EntityManager, userId: string, tenant: string, because: RevocationCause) {
    await manager.query(LOCK_USER, [userId, tenant]);
    const [ended] = await manager.query<[unknown[], number]>(REVOKE_ALL, [userId, tenant, because]);
    return ended.length;
  },

  /**
   * The same for all but one, which must be alive: whoever asks keeps his own.
   *
   * @returns how many sessions ended; undefined when the one that asks has ended before
   */
  async revokeOthersWithin(
    manager: EntityManager,
    userId: string,
    tenant: string,
    sessionId: string,
    because: RevocationCause,
  ): Promise<number | undefined> {
    await manager.query(LOCK_USER, [userId, tenant]);
    const asking = await manager.query<unknown[]>(ASKING_SESSION, [sessionId, userId, tenant]);
    if (asking.length === 0) return undefined;
    const [ended] = await manager.query<[unknown[], number]>(REVOKE_OTHERS, [userId, tenant, because, sessionId]);
    return ended.length;
  },

  /** @returns how many sessions ended; none when the one that asks has ended before */
  revokeEverywhere(dataSource: DataSource, call: Caller, userId: string, tenant: string, sessionId: string) {
    return transaction(dataSource, call, async (manager) => {
      const asking = await manager.query<unknown[]>(ASKING_SESSION, [sessionId, userId, tenant]);
      return asking.length === 0 ? 0 : sessionStore.revokeAllWithin(manager, userId, tenant, 'logout-everywhere');
    });
  },

  /** The latest 200 that are alive. */
  list(dataSource: DataSource, call: Caller, userId: string, tenant: string): Promise<SessionRow[]> {
    return execute(dataSource, call, listAlive, [userId, tenant]);
  },

  async belongsTo(dataSource: DataSource, call: Caller, id: string, userId: string, tenant: string): Promise<boolean> {
    return (await execute(dataSource, call, belongsTo, [id, userId, tenant])).length > 0;
  },
};
