import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ConfigurationError } from '@sluice/config';
import { routeList } from './route-list.js';

const HELP = `sluice-gateway: REST, gRPC and gRPC-Web on one port, in front of any gRPC service

  --config FILE   the configuration (default: $GATEWAY_CONFIG, else config/gateway.yaml)
  --port PORT     the public port (default: $GATEWAY_PORT, else 8083)
  --check         check the configuration, print its routes, and end
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
  version: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

function flags() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return process.exit(USAGE);
  }
}

const { config, port, check, version, help } = flags();
if (config !== undefined) process.env['GATEWAY_CONFIG'] = config;
if (port !== undefined) process.env['GATEWAY_PORT'] = port;

if (help) console.log(HELP);
else if (version) {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  console.log(manifest.version);
} else if (check) {
  try {
    console.log(routeList(process.env['GATEWAY_CONFIG'] ?? 'config/gateway.yaml'));
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    console.error(`The configuration is wrong:\n${error.message}`);
    process.exitCode = CONFIG;
  }
} else await import('./main.js');
