import { choice, duration, flag, integer, secret, text, type Setting } from '@sluice/config';
import { parseAddress } from '@sluice/storage';
import { processSettings } from '@sluice/telemetry';

/** The settings that every gRPC service reads besides its own ports and database. */
export const serviceSettings = {
  ...processSettings,
  SERVICE_HOST: text('Address that the gRPC ports of the services listen on.', '127.0.0.1'),
  GATEWAY_SECRET: secret(
    'With what the gateway proves itself to this service alone: the service believes the identity metadata of a call only with it. ' +
      '`sluice-gateway --secret-of NAME` prints it; `npm start` and the containers hand it over. Without it a service must listen on loopback.',
    16,
  ),
  GRPC_SERVER: choice(
    'The gRPC server of the services: our own, or the one that Nest brings.',
    ['wire', 'grpc-js'],
    'wire',
  ),
  GRPC_REFLECTION: flag('Whether the services answer the reflection service, which grpcurl uses.', true),
  DEFAULT_TENANT: text(
    'The tenant of calls that name none, created at the first start. It runs the installation: what serves all tenants, ' +
      'as nodes do, is for its administrators alone.',
    'default',
  ),
  DB_POOL_SIZE: integer('Connections to Postgres that a process holds at most.', 10, { min: 1, max: 200 }),
  DB_START_WAIT_SECONDS: integer(
    'How long a service that starts waits for a Postgres that cannot be reached yet, or starts itself.',
    60,
    { min: 0, max: 3600 },
  ),
  DB_POOL_TIMEOUT: duration('How long a call waits for a free connection.', '5s', { min: 100, max: 60_000 }),
};

/** `NAME_DATABASE_URL`, or `DATABASE_URL` when it is not set. */
export function databaseUrl(name: string, environment = process.env): Setting<string> {
  const shared = environment['DATABASE_URL'];
  return {
    describe: `Postgres of this service, with one host or several; without it DATABASE_URL${shared ? '' : ' (which is not set)'}.`,
    expect:
      `postgres://user:password@host:port/database in ${name} or DATABASE_URL; several hosts separated by commas, ` +
      'and target_session_attrs=any, read-write or primary, if wanted',
    fallback: shared,
    secret: true,
    absent: 'required',
    parse: (value) => (parseAddress(value) === undefined ? undefined : value),
    advise: adviseOnDatabaseUrl,
  };
}

/** Of addresses as other libraries write them; only the scheme is repeated, since the rest holds a password. */
function adviseOnDatabaseUrl(value: string): string | undefined {
  const [, before, driver] = /^(jdbc:)?postgres(?:ql)?(\+\w+)?:\/\//.exec(value) ?? [];
  const surplus = [before, driver].filter(Boolean);
  if (surplus.length > 0) return `drop ${surplus.join(' and ')}, and the rest may stay`;
  if (value.startsWith('sqlite'))
    return 'there is no SQLite here: without a URL, `npm start` brings a Postgres of its own';
  return undefined;
}
