import { ConfigurationError, type FileFault, schemaFaults, YamlFile } from '@sluice/config';
import { examine } from './examine.js';
import { type GatewayConfig, gatewayConfigSchema } from './schema.js';

/**
 * Reads a configuration file. Where its shape is wrong, what can be read of it is examined too, so that all mistakes are told at once.
 *
 * @throws ConfigurationError with every mistake and its line
 */
export function readGatewayFile(name: string): GatewayConfig {
  const file = YamlFile.read(name);
  const { value, faults: unset } = file.values();
  const result = gatewayConfigSchema.safeParse(value);
  if (result.success && unset.length === 0) return result.data;
  const found = result.success ? [] : schemaFaults(gatewayConfigSchema, value, result.error.issues);
  const issues = result.success ? [] : result.error.issues;
  const readable = gatewayConfigSchema.safeParse(withoutParts(value, issues));
  if (readable.success) {
    const isKnown = (key: string) => issues.every(({ path }) => path[0] !== key);
    const config = isKnown('auth') ? readable.data : { ...readable.data, auth: SOME_AUTH };
    const { faults } = examine(config, name, true);
    found.push(
      ...faults.filter(({ path }) => isKnown('auth') || !(path[0] === 'auth' || path.at(-1) === 'ended_sessions')),
    );
  }
  throw file.error(found, unset);
}

/** Stands for an `auth` that cannot be read: there is one. */
const SOME_AUTH: GatewayConfig['auth'] = {
  mode: 'jwt',
  audience: 'any',
  keys: { jwks_url: 'http://localhost/' },
  algorithms: ['ES256'],
  default_tenant: '',
  clock_tolerance: 0,
  stream_expiry: 'end',
  cache_size: 1,
};

/** The file's values less every upstream, and every other part of the file, that something is wrong with. */
function withoutParts(value: unknown, issues: readonly { readonly path: readonly PropertyKey[] }[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { upstreams, ...rest } = value as Record<string, unknown>;
  const isWrong = (index: number) => issues.some(({ path }) => path[0] === 'upstreams' && path[1] === index);
  const readable = Array.isArray(upstreams) ? upstreams.filter((_, index) => !isWrong(index)) : [];
  const known = Object.keys(gatewayConfigSchema.shape);
  const others = Object.entries(rest).filter(
    ([key]) => known.includes(key) && issues.every(({ path }) => path[0] !== key),
  );
  return { ...Object.fromEntries(others), upstreams: readable };
}

/** Faults as an error that tells their lines; without them when the file is gone. */
export function located(name: string, faults: readonly FileFault[]): ConfigurationError {
  let file: YamlFile;
  try {
    file = YamlFile.read(name);
  } catch {
    return new ConfigurationError(faults.map(({ path, message }) => `${path.join('.')}: ${message}`));
  }
  return file.error(faults);
}
