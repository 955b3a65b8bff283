import { decimal, flag, integer, optionalText, port, type SettingsOf, text, type Setting } from '@sluice/config';
import { mailSettings } from './mail/mail-settings.js';
import { databaseUrl, serviceSettings } from '@sluice/service';

/** 32 bytes in base64, directly or as MASTER_KEY_FILE. */
export const masterKey: Setting<Buffer> = {
  describe: 'Encrypts the signing keys and the refresh secret in the database. Whoever has both can make tokens.',
  expect: '32 random bytes in base64, for example from `openssl rand -base64 32`',
  fallback: undefined,
  secret: true,
  absent: 'required',
  parse(value) {
    const bytes = Buffer.from(value, 'base64');
    return bytes.length === 32 ? bytes : undefined;
  },
};

const SECONDS_A_DAY = 86_400;

/** The settings of the user service. */
export function userSettings(environment: NodeJS.ProcessEnv = process.env) {
  return {
    ...serviceSettings,
    USER_PORT: port('Port of the user service.', 50051),
    USER_ADMIN_PORT: port('Admin port of the user service.', 9051),
    USER_DATABASE_URL: databaseUrl('USER_DATABASE_URL', environment),
    MASTER_KEY: masterKey,
    TOKEN_ISSUER: text(
      '`iss` of access tokens: the address of the gateway as clients see it.',
      'http://localhost:8083',
    ),
    TOKEN_AUDIENCE: text('`aud` of access tokens.', 'sluice'),
    ACCESS_TOKEN_SECONDS: integer('Lifetime of an access token, less the jitter.', 900, {
      min: 5,
      max: SECONDS_A_DAY,
    }),
    ACCESS_TOKEN_JITTER_PERCENT: integer(
      'An access token expires up to this part of its lifetime earlier, at random: what was issued together does not expire together.',
      5,
      { min: 0, max: 50 },
    ),
    SERVICE_TOKEN_SECONDS: integer(
      'Lifetime of an access token of a service account, less the jitter; it has no refresh token.',
      600,
      { min: 5, max: 3600 },
    ),
    OAUTH_PASSWORD_GRANT: flag(
      'Whether `/oauth/token` takes the grant `password`, which RFC 9700 section 2.4 advises against. `/api/v1/auth/login` is the other way.',
      false,
    ),
    API_KEYS_PER_OWNER: integer('API keys that a user or a service account has at the same time, at most.', 50, {
      min: 1,
      max: 10_000,
    }),
    REFRESH_GRACE_SECONDS: integer(
      'For how long after a rotation the previous refresh token still gets the current successor.',
      10,
      { min: 0, max: 300 },
    ),
    SESSIONS_PER_USER: integer(
      'Sessions of a user that live at the same time; a further login ends the oldest.',
      1000,
      {
        min: 1,
        max: 100_000,
      },
    ),
    REFRESH_PER_MINUTE: integer(
      'Rotations of one session within a minute; repeats within the grace do not count.',
      60,
      {
        min: 1,
        max: 1_000_000,
      },
    ),
    SESSION_IDLE_SECONDS: integer('A session ends when it is not refreshed for this long.', 14 * SECONDS_A_DAY, {
      min: 5,
      max: 400 * SECONDS_A_DAY,
    }),
    SESSION_ABSOLUTE_SECONDS: integer(
      'A session ends this long after its login, however it is used.',
      90 * SECONDS_A_DAY,
      {
        min: 5,
        max: 400 * SECONDS_A_DAY,
      },
    ),
    ADMIN_EMAIL: text('E-mail address of the administrator that the first start creates.', 'admin@sluice.local'),
    ADMIN_PASSWORD_FILE: text(
      "The administrator's password: read from this file when it exists, otherwise generated into it (mode 600).",
      '.sluice/secrets/admin-password',
    ),
    COOKIE_ORIGINS: optionalText(
      'Further origins, separated by commas, whose pages may refresh with the cookie; the origin of TOKEN_ISSUER may.',
    ),
    KEY_ROTATION_DAYS: integer('The signing key is replaced when it has been in use for this long.', 30, {
      min: 1,
      max: 365,
    }),
    KEY_PUBLISH_SECONDS: integer(
      'A signing key must have been published for this long before it signs; longer than the cool-down of the verifiers.',
      15,
      { min: 0, max: SECONDS_A_DAY },
    ),
    LOGIN_FAILURES_FREE: integer(
      'Wrong passwords for one account from one address before waiting begins; 4 times as many from all addresses, 10 times for one address.',
      5,
      { min: 1, max: 1000 },
    ),
    GUEST_SPACING_SECONDS: integer('Time between two new guest tokens of a device.', 60, { min: 0, max: 3600 }),
    GUEST_HOURLY: integer('New guest tokens of a device within an hour.', 10, { min: 1, max: 100_000 }),
    GUEST_DAILY: integer('New guest tokens of a device within a day.', 50, { min: 1, max: 1_000_000 }),
    GUEST_ADDRESS_PER_MINUTE: integer('New guest tokens of an IPv4 address or an IPv6 /64 within a minute.', 10, {
      min: 1,
      max: 1_000_000,
    }),
    GUEST_ADDRESS_HOURLY: integer('New guest tokens of an IPv4 address or an IPv6 /64 within an hour.', 600, {
      min: 1,
      max: 1_000_000,
    }),
    GUEST_BACKOFF: flag(
      'Whether a device that asks too early waits longer with each refusal; otherwise it waits until its limits allow it.',
      true,
    ),
    GUEST_BACKOFF_SECONDS: integer('The first wait of a device that asks too early.', 15, { min: 1, max: 3600 }),
    GUEST_BACKOFF_MULTIPLIER: decimal('What each further refusal multiplies that wait by, up to an hour.', 2, {
      min: 1,
      max: 10,
    }),
    ...mailSettings,
    PRUNE_SECONDS: integer('Time between two rounds that delete what has run out.', 60, { min: 1, max: SECONDS_A_DAY }),
    AUDIT_DAYS: integer('For how long security events and guest attempts are kept.', 90, { min: 2, max: 3650 }),
    PASSWORD_STRENGTH_MIN: integer(
      'How hard a new password must be to guess: 1 beyond a thousand guesses, 2 a million, 3 a hundred million, 4 ten thousand million; 0 takes every one.',
      2,
      { min: 0, max: 4 },
    ),
    PASSWORD_MEMORY_KIB: integer('Memory of one argon2id hash.', 19_456, { min: 8, max: 1_048_576 }),
    PASSWORD_PASSES: integer('Passes of one argon2id hash.', 2, { min: 1, max: 100 }),
    PASSWORD_HASH_CONCURRENCY: integer('Passwords that are hashed at the same time; each needs its memory.', 2, {
      min: 1,
      max: 64,
    }),
    PASSWORD_QUEUE_MS: integer(
      'A login is refused with 503, on arrival, when it would wait longer than this to be hashed; tenants take turns.',
      5000,
      { min: 10, max: 60_000 },
    ),
  };
}

export type UserSettings = SettingsOf<ReturnType<typeof userSettings>>;

/** For how long after a rotation an access token of the session may live: one that is issued at the end of the grace, and a second for rounding. */
export function tokenReachSeconds(
  settings: Pick<UserSettings, 'ACCESS_TOKEN_SECONDS' | 'REFRESH_GRACE_SECONDS'>,
): number {
  return settings.ACCESS_TOKEN_SECONDS + settings.REFRESH_GRACE_SECONDS + 1;
}

/** The provider of {@link UserSettings}. */
export const SETTINGS = Symbol('settings');
