import { flag, integer, optionalText, port, secret, text } from '@sluice/config';
import { processSettings } from '@sluice/telemetry';

/** What the gateway process reads from its environment; everything about upstreams is in the configuration file. */
export const settings = {
  ...processSettings,
  GATEWAY_HOST: text('Address that the public ports of the gateway listen on.', '127.0.0.1'),
  GATEWAY_PORT: port('Public port: HTTP/1.1 and HTTP/2 without TLS.', 8083),
  GATEWAY_TLS_PORT: port('Public port: HTTP/1.1 and HTTP/2 over TLS, when a certificate is configured.', 8443),
  GATEWAY_TLS_CERT_FILE: optionalText('Certificate chain in PEM form.'),
  GATEWAY_TLS_KEY_FILE: optionalText('Private key of the certificate in PEM form.'),
  GATEWAY_ADMIN_PORT: port('Port of /livez, /readyz and /metrics.', 9084),
  GATEWAY_CONFIG: text('The configuration file.', 'config/gateway.yaml'),
  GATEWAY_SECRET: secret(
    'Of the gateway alone: from it the secret of each trusted upstream is derived, with which a service believes identity metadata.',
    16,
  ),
  RATE_LIMIT_ENABLED: flag(
    'Whether the limits of the gateway are enforced; those of the user service have settings of their own.',
    true,
  ),
  REDIS_URL: secret(
    [
      'Redis that limits are shared by; without it they live in the process. One server: `redis://host:6379/0`; Sentinel:',
      '`redis+sentinel://host:26379,host2:26379/name-of-the-master`; Cluster: `redis+cluster://host:6379,host2:6379`. `rediss` in place of `redis` for TLS, `user:password@` before the hosts.',
    ].join(' '),
  ),
  REDIS_CA_FILE: optionalText(
    'Certificates in PEM form by which that of a Redis of `rediss` is checked; without it, those that the system trusts.',
  ),
  REDIS_CERT_FILE: optionalText('Certificate of the gateway in PEM form, for a Redis of `rediss` that asks for one.'),
  REDIS_KEY_FILE: optionalText('Private key of that certificate in PEM form.'),
  ACCESS_LOG: flag(
    'Whether calls are logged: all that came to a service, and of the others as many as the next setting says. 429 is a warning, which LOG_LEVEL=warn leaves in.',
    true,
  ),
  ACCESS_LOG_REFUSALS_PER_SECOND: integer(
    'Lines a second at most, for each problem code, of calls that came to no service; how many more there were is logged once a second.',
    100,
    { min: 0, max: 1_000_000 },
  ),
  GATEWAY_MAX_CONNECTIONS: integer('Client connections at most, over all ports.', 20_000, { min: 1, max: 1_000_000 }),
  GATEWAY_MAX_CONNECTIONS_PER_ADDRESS: integer(
    'Client connections of one address at most, or of one /64 network of IPv6; trusted proxies may have all. Idle ones are closed for new ones.',
    2_000,
    { min: 1, max: 1_000_000 },
  ),
};
