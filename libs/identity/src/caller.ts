/** Who is calling, as the claims of a verified token say. */
export interface Caller {
  /** `sub`: 1 to 255 printable ASCII characters. */
  readonly subject: string;
  /** Empty when the token names none. */
  readonly tenant: string;
  /** The session that the token belongs to; empty for tokens without one, which cannot be revoked. */
  readonly session: string;
  readonly roles: readonly string[];
  /** Space-separated, as in RFC 6749 section 3.3. */
  readonly scope: string;
  readonly guest: boolean;
  /** The issuer says that the e-mail address is not verified; absent where it says nothing. */
  readonly unverified?: true;
  /** The account that the caller's budget is charged to; empty: the tenant's root. */
  readonly account: string;
  /** The API key that the caller came with; absent without one. */
  readonly key?: CallerKey;
  /** `exp` in milliseconds since the epoch; Infinity for a key that does not expire. */
  readonly expiresAtMs: number;
}

/** An API key, and what it may be used for. An empty list leaves that open. */
export interface CallerKey {
  readonly id: string;
  /** Selectors of gRPC methods. */
  readonly methods: readonly string[];
  /** Names of models, for the services to judge. */
  readonly models: readonly string[];
  /** Addresses and blocks. */
  readonly networks: readonly string[];
}

/** Which claims say what. A name that is no claim itself is read as a path: `realm_access.roles`. */
export interface ClaimNames {
  readonly tenant: string;
  readonly session: string;
  readonly roles: string;
  readonly scope: string;
  readonly guest: string;
  readonly email_verified: string;
  readonly account: string;
}

export const sluiceClaims: ClaimNames = {
  tenant: 'tid',
  session: 'sid',
  roles: 'roles',
  scope: 'scope',
  guest: 'guest',
  email_verified: 'email_verified',
  account: 'account',
};

export type Claims = Readonly<Record<string, unknown>>;

/** These values become gRPC metadata, so nothing else than printable ASCII may be in them. */
const PRINTABLE = /^[\x21-\x7e]{1,255}$/;
/** A role holds no comma, which separates roles on their way to a service. */
const ROLE = /^[\x21-\x2b\x2d-\x7e]{1,100}$/;
const SCOPE = /^[\x20-\x7e]{0,2000}$/;
const ROLES_MAX = 100;
/** What the gateway is to the services; no token makes anybody that. */
const RESERVED_ROLE = 'gateway';

/** @returns undefined when a claim that says who is calling cannot be carried on */
export function callerOf(claims: Claims, names: ClaimNames, defaultTenant: string): Caller | undefined {
  const subject = claims['sub'];
  const tenant = claimOf(claims, names.tenant) ?? defaultTenant;
  const session = claimOf(claims, names.session) ?? '';
  const scope = claimOf(claims, names.scope) ?? '';
  const account = claimOf(claims, names.account) ?? '';
  if (typeof subject !== 'string' || !PRINTABLE.test(subject)) return undefined;
  if (typeof tenant !== 'string' || (tenant !== '' && !PRINTABLE.test(tenant))) return undefined;
  if (typeof session !== 'string' || (session !== '' && !PRINTABLE.test(session))) return undefined;
  // A token whose account cannot be carried on would be charged to another.
  if (typeof account !== 'string' || (account !== '' && !PRINTABLE.test(account))) return undefined;
  return {
    subject,
    tenant,
    session,
    roles: rolesOf(claimOf(claims, names.roles)),
    scope: typeof scope === 'string' && SCOPE.test(scope) ? scope : '',
    guest: claimOf(claims, names.guest) === true,
    ...(claimOf(claims, names.email_verified) === false && { unverified: true }),
    account,
    expiresAtMs: (claims['exp'] as number) * 1000,
  };
}

function rolesOf(value: unknown): readonly string[] {
  const roles: readonly unknown[] = Array.isArray(value) ? value : typeof value === 'string' ? value.split(' ') : [];
  return roles
    .filter((role): role is string => typeof role === 'string' && ROLE.test(role) && role !== RESERVED_ROLE)
    .slice(0, ROLES_MAX);
}

function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  if (!name.includes('.')) return undefined;
  let value: unknown = claims;
  for (const step of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Claims)[step];
  }
  return value;
}
