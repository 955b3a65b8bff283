import type { DataSource, EntityManager } from 'typeorm';
import { type Caller, execute, statement } from '@sluice/storage';

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
  extract(epoch from s.tokens_until - clock_timestamp())::float8 as tokens_left_seconds`;
const later = (parameter: string) => `clock_timestamp() + ${parameter} * interval '1 second'`;

const insertSession = statement<SessionOwner>(
  'session-insert',
  `with s as (
     insert into sessions (id, tenant, user_id, device, address, idle_until, absolute_until, tokens_until)
     select $1, u.tenant, u.id, $3, $4, least(${later('$5')}, ${later('$6')}), ${later('$6')}, ${later('$7')}
     from users u where u.id = $2 and u.locked_at is null
     returning *
   ) select ${owner} from s join users u on u.id = s.user_id`,
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
     and u.id = s.user_id and u.locked_at is null
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

const revokeOne = statement<{ id: string }>(
  'session-revoke',
  `update sessions set revoked_at = clock_timestamp(), revoked_because = $2
   where id = $1 and revoked_at is null returning id`,
);

const revokeAll = statement<{ id: string }>(
  'session-revoke-all',
  `update sessions set revoked_at = clock_timestamp(), revoked_because = $3
   where user_id = $1 and tenant = $2 and revoked_at is null and greatest(idle_until, tokens_until) > clock_timestamp()
   returning id`,
);

/** As a session asks for it ($4), which must not have ended: a token that was logged out may live on, but not decide about others. */
const revokeEverywhere = statement<{ id: string }>(
  'session-revoke-everywhere',
  revokeAll.text.replace(
    'returning',
    'and exists (select 1 from sessions asking where asking.id = $4 and asking.revoked_at is null) returning',
  ),
);

/** Why a session was ended by force; kept in its row. */
export type RevocationCause =
  'logout' | 'logout-everywhere' | 'revoked' | 'refresh-reuse' | 'guest-upgrade' | 'account-locked' | 'roles-changed';

const revokeOldest = statement(
  'session-revoke-oldest',
  `update sessions set revoked_at = clock_timestamp(), revoked_because = 'too-many'
   where revoked_at is null and id in (
     select id from sessions where user_id = $1 and revoked_at is null and idle_until > clock_timestamp()
     order by created_at desc, id offset $2)`,
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
];

/** The statements of table `sessions`, one call each. */
export const sessionStore = {
  /** @returns undefined when the user does not exist or is locked */
  async insert(dataSource: DataSource, call: Caller, session: NewSession, seconds: SessionSeconds) {
    const [row] = await execute(dataSource, call, insertSession, newSessionValues(session, seconds));
    return row;
  },

  async insertWithin(manager: EntityManager, session: NewSession, seconds: SessionSeconds) {
    const [row] = await manager.query<SessionOwner[]>(insertSession.text, newSessionValues(session, seconds));
    return row;
  },

  /** Ends all of the user's sessions but the latest. */
  async keepLatest(dataSource: DataSource, call: Caller, userId: string, count: number): Promise<void> {
    await execute(dataSource, call, revokeOldest, [userId, count]);
  },

  /** @returns undefined when the session is not alive, or not in this generation, or rotates too often */
  async rotate(dataSource: DataSource, call: Caller, id: string, generation: number, bounds: RotationBounds) {
    const values = [id, generation, bounds.idleSeconds, bounds.perMinute, bounds.tokenSeconds];
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

  async revokeAllWithin(manager: EntityManager, userId: string, tenant: string, because: RevocationCause) {
    await manager.query(revokeAll.text, [userId, tenant, because]);
  },

  /** @returns how many sessions ended; none when the one that asks has ended before */
  async revokeEverywhere(dataSource: DataSource, call: Caller, userId: string, tenant: string, sessionId: string) {
    const values = [userId, tenant, 'logout-everywhere' satisfies RevocationCause, sessionId];
    return (await execute(dataSource, call, revokeEverywhere, values)).length;
  },

  /** The latest 200 that are alive. */
  list(dataSource: DataSource, call: Caller, userId: string, tenant: string): Promise<SessionRow[]> {
    return execute(dataSource, call, listAlive, [userId, tenant]);
  },

  async belongsTo(dataSource: DataSource, call: Caller, id: string, userId: string, tenant: string): Promise<boolean> {
    return (await execute(dataSource, call, belongsTo, [id, userId, tenant])).length > 0;
  },
};
