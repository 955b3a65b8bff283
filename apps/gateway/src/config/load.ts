import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { faultAt, type FileFault, FileFaults } from '@sluice/config';
import { compileRules, loadSchema, type RuleFault, type Schema, SchemaError } from '@sluice/transcode';
import { compileOptions } from '../route/compile-options.js';
import { resolveConflicts } from './conflicts.js';
import { type LeftOut, type LoadedConfig, type LoadedUpstream, rulePath } from './loaded.js';
import type { GatewayConfig, UpstreamConfig } from './schema.js';

/**
 * Reads what the configuration names: descriptor sets and PEM files; compiles the HTTP rules.
 *
 * @param configFile what the files are relative to
 * @param faults is told what cannot be used
 */
export function loadConfig(config: GatewayConfig, configFile: string, faults: FileFault[]): LoadedConfig {
  const leftOut: LeftOut[] = [];
  const loaded = config.upstreams.flatMap((upstream) => {
    try {
      return [loadUpstream(upstream, configFile, faults, leftOut)];
    } catch (error) {
      if (!(error instanceof FileFaults)) throw error;
      faults.push(...error.faults);
      return [];
    }
  });
  return { config, ...resolveConflicts(loaded, faults, leftOut), leftOut };
}

/** @throws FileFaults when a file cannot be used at all */
function loadUpstream(
  config: UpstreamConfig,
  configFile: string,
  faults: FileFault[],
  leftOut: LeftOut[],
): LoadedUpstream {
  const at = (...keys: string[]) => ['upstreams', config.name, ...keys];
  const files: string[] = [];
  const read = (keys: string[], name: string | undefined) => {
    if (name === undefined) return undefined;
    const file = resolve(dirname(configFile), name);
    files.push(file);
    try {
      return readFileSync(file);
    } catch (error) {
      const expected = `a file that can be read (${(error as Error).message})`;
      throw new FileFaults([faultAt(at(...keys), { value: name, expected })]);
    }
  };
  const tls = typeof config.tls === 'boolean' ? undefined : config.tls;
  const pem = {
    ca: read(['tls', 'ca'], tls?.ca),
    cert: read(['tls', 'cert'], tls?.cert),
    key: read(['tls', 'key'], tls?.key),
  };
  const set = read(['descriptor_set'], config.descriptor_set)!;
  const digest = createHash('sha256').update(set).digest('hex');
  const schema = schemaOf(at('descriptor_set'), set, configFile, config);
  const services = servedServices(config, schema);
  for (const service of config.services ? [] : schema.importedServices) {
    const reason = `${service} is of a file that is only imported; \`services\` names what of these is to be served`;
    leftOut.push({ upstream: config.name, reason });
  }
  const methods = [...schema.methods.values()].filter(({ service }) => services.includes(service));
  const { bindings, faults: unusable } = compileRules(schema, { ...compileOptions(config), services });
  for (const fault of unusable) {
    // A selector that names no method is found, with its nearest name, among all selectors.
    if (fault.method === undefined) continue;
    if (config.unusable_rules === 'skip') leftOut.push({ upstream: config.name, reason: fault.message });
    else faults.push(ruleFault(config, fault));
  }
  return { config, schema, digest, files, methods, bindings, pem };
}

function schemaOf(
  path: string[],
  octets: Uint8Array,
  configFile: string,
  { descriptor_set: name }: UpstreamConfig,
): Schema {
  try {
    return loadSchema(octets, resolve(dirname(configFile), name));
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    throw new FileFaults([{ path, message: error.message }]);
  }
}

/** Those that are named, else those of the files that the descriptor set was made for. */
function servedServices({ services }: UpstreamConfig, schema: Schema): string[] {
  const all = [...new Set([...schema.methods.values()].map(({ service }) => service))];
  return all.filter((service) => services?.includes(service) ?? !schema.importedServices.has(service));
}

const REMEDY =
  'a rule that can be used; an http.rules entry with this selector replaces it, one with none: true takes it away, and unusable_rules: skip leaves out all such';

function ruleFault(config: UpstreamConfig, fault: RuleFault): FileFault {
  return { path: rulePath(config, fault), message: `${fault.message}: expected ${REMEDY}` };
}
