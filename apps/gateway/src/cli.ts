import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { callerSecretFor, ConfigurationError, gatewaySecretFor, readSettings, required } from '@sluice/config';
import { serviceName } from './config/schema.js';
import { routeList } from './route-list.js';
import { settings } from './settings.js';

const HELP = `sluice-gateway: REST, gRPC and gRPC-Web on one port, in front of any gRPC service

  --config FILE   the configuration (default: $GATEWAY_CONFIG, else config/gateway.yaml)
  --port PORT     the public port (default: $GATEWAY_PORT, else 8083)
  --check         check the configuration, print its routes, and end
  --secret-of SERVICE [--held-by CALLER]
                  print what the gateway proves itself to this service with, for its GATEWAY_SECRET; or what the service CALLER
                  proves itself to it with. Derived from GATEWAY_SECRET or GATEWAY_SECRET_FILE of the gateway
  --version
  --help

Everything else is set in the environment: GATEWAY_HOST (127.0.0.1), GATEWAY_ADMIN_PORT (9084: /livez, /readyz, /metrics),
GATEWAY_TLS_PORT, GATEWAY_TLS_CERT_FILE, GATEWAY_TLS_KEY_FILE, LOG_LEVEL, ACCESS_LOG, REDIS_URL, …`;

/** EX_USAGE and EX_CONFIG of sysexits.h. */
const USAGE = 64;
const CONFIG = 78;

const options = {
  config: { type: 'string' },
  port: { type: 'string' },
  check: { type: 'boolean' },
  'secret-of': { type: 'string' },
  'held-by': { type: 'string' },
  version: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

function flags() {
  try {
    const { values } = parseArgs({ options });
    for (const flag of ['secret-of', 'held-by'] as const) {
      const service = values[flag];
      if (service !== undefined && !serviceName.test(service)) {
        throw new Error(`--${flag} ${JSON.stringify(service)}: expected the name of a service, such as allocator`);
      }
    }
    if (values['held-by'] !== undefined && values['secret-of'] === undefined) {
      throw new Error('--held-by: expected --secret-of SERVICE beside it, which names the service that is called');
    }
    return values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return process.exit(USAGE);
  }
}

/** @throws ConfigurationError without GATEWAY_SECRET */
function secretOf(service: string, holder: string | undefined): string {
  const { GATEWAY_SECRET: root } = readSettings({ GATEWAY_SECRET: required(settings.GATEWAY_SECRET) });
  const secret = gatewaySecretFor(service, root);
  return holder === undefined ? secret : callerSecretFor(holder, secret);
}

/** What is printed by `work`, or why the configuration does not let it. */
function print(work: () => string): void {
  try {
    console.log(work());
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    console.error(`The configuration is wrong:\n${error.message}`);
    process.exitCode = CONFIG;
  }
}

const { config, port, check, version, help, 'secret-of': service, 'held-by': holder } = flags();
if (config !== undefined) process.env['GATEWAY_CONFIG'] = config;
if (port !== undefined) process.env['GATEWAY_PORT'] = port;

if (help) console.log(HELP);
else if (version) {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  console.log(manifest.version);
} else if (service !== undefined) print(() => secretOf(service, holder));
else if (check) print(() => routeList(process.env['GATEWAY_CONFIG'] ?? 'config/gateway.yaml'));
else await import('./main.js');
