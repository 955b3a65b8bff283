import { integer, port, type SettingsOf, text, type Setting } from '@sluice/config';
import { databaseUrl, serviceSettings } from '@sluice/service';

/** 32 bytes in base64, directly or as MASTER_KEY_FILE. */
const masterKey: Setting<Buffer> = {
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
    ACCESS_TOKEN_SECONDS: integer('Lifetime of an access token; up to 5 % less at random.', 900, {
      min: 5,
      max: SECONDS_A_DAY,
    }),
    REFRESH_GRACE_SECONDS: integer(
      'For how long after a rotation the previous refresh token still gets the current successor.',
      10,
      { min: 0, max: 300 },
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
    DEFAULT_TENANT: text('The tenant of calls that name none; created at the first start.', 'default'),
    PASSWORD_MEMORY_KIB: integer('Memory of one argon2id hash.', 19_456, { min: 8, max: 1_048_576 }),
    PASSWORD_PASSES: integer('Passes of one argon2id hash.', 2, { min: 1, max: 100 }),
    PASSWORD_HASH_CONCURRENCY: integer('Passwords that are hashed at the same time; each needs its memory.', 2, {
      min: 1,
      max: 64,
    }),
    PASSWORD_QUEUE_MS: integer('A login is refused with 503 when it would wait longer than this to be hashed.', 5000, {
      min: 10,
      max: 60_000,
    }),
  };
}

export type UserSettings = SettingsOf<ReturnType<typeof userSettings>>;

/** The provider of {@link UserSettings}. */
export const SETTINGS = Symbol('settings');
