import { createSecureContext } from 'node:tls';
import { faultAt, type FileFault } from '@sluice/config';
import { parseTarget, TargetError } from '@sluice/wire';
import { API_KEY_FIELD } from '../../preflight/preflight.js';
import { unlistable } from '../../upstream/metadata.js';
import type { LoadedUpstream } from '../loaded.js';
import { type UpstreamConfig, usual } from '../schema.js';
import type { Subject } from './check.js';

/** Settings that concern HTTP rules alone, and whether they say anything. */
const ofRules: Readonly<Record<string, (config: UpstreamConfig) => boolean>> = {
  path_prefix: ({ path_prefix }) => path_prefix !== '',
  ignore_unknown_query: ({ ignore_unknown_query }) => ignore_unknown_query,
  ignore_unknown_members: ({ ignore_unknown_members }) => ignore_unknown_members,
  system_parameters: ({ system_parameters }) => system_parameters.length > 0,
  response_headers: ({ response_headers }) => response_headers.length > 0,
  json: ({ json }) => !json.print_defaults || json.enum_numbers || json.proto_names,
};

const keptField = 'a field that is not kept: with `auth.api_keys` it is where clients show API keys';

/** Addresses, TLS, header fields and what else stands under one upstream. */
export function* upstreams(subject: Subject): Iterable<FileFault> {
  const { auth } = subject.config;
  const used =
    auth.mode === 'jwt' ? [auth.keys && 'upstream' in auth.keys && auth.keys.upstream, auth.revocations?.upstream] : [];
  for (const [index, { name }] of subject.config.upstreams.entries()) {
    if (subject.part || subject.config.upstreams.findIndex((other) => other.name === name) === index) continue;
    yield faultAt(['upstreams', index, 'name'], {
      value: name,
      expected: 'a name of its own: another upstream has it',
    });
  }
  for (const { name, address, tls } of subject.config.upstreams)
    yield* addresses(['upstreams', name, 'address'], address, tls);
  const takesKeys = subject.config.auth.mode === 'jwt' && subject.config.auth.api_keys !== undefined;
  for (const upstream of subject.upstreams) {
    const { config, methods, bindings } = upstream;
    const at = ['upstreams', config.name];
    yield* certificates(at, upstream);
    for (const [index, field] of config.request_headers.entries()) {
      const instead = takesKeys && field === API_KEY_FIELD ? keptField : unlistable(field);
      if (instead) yield faultAt([...at, 'request_headers', index], { value: field, expected: instead });
    }
    const named = config.services ?? [];
    // A service that is not there is told elsewhere.
    if (methods.length === 0 && named.length > 0) continue;
    if (methods.length === 0 && !used.includes(config.name)) {
      yield faultAt([...at, config.services ? 'services' : 'descriptor_set'], {
        value: config.services ?? config.descriptor_set,
        expected: 'a service with methods: this upstream serves none',
      });
    } else if (bindings.length === 0) {
      for (const key in ofRules) {
        if (!ofRules[key]!(config)) continue;
        const value = config[key as keyof UpstreamConfig];
        const expected =
          'methods with an HTTP rule (an annotation, http.rules, or unannotated: post): this upstream has none';
        yield faultAt([...at, key], { value, expected });
      }
    }
    if (config.ignore_unknown_query && config.system_parameters.length > 0) {
      const expected = 'none beside ignore_unknown_query: true, which leaves out every parameter that names no field';
      yield faultAt([...at, 'system_parameters'], { value: config.system_parameters, expected });
    }
    if (config.connections > config.max_concurrent && config.connections !== usual.connections) {
      const expected = `no more connections than calls in flight (max_concurrent: ${config.max_concurrent})`;
      yield faultAt([...at, 'connections'], { value: config.connections, expected });
    }
  }
}

function* addresses(path: string[], address: string, tls: UpstreamConfig['tls']): Iterable<FileFault> {
  const seen = new Set<string>();
  for (const part of address.split(',')) {
    try {
      const key = parseTarget(part)[0]!.key;
      if (seen.has(key)) yield faultAt(path, { value: address, expected: `each address once: ${key} stands twice` });
      seen.add(key);
      if (tls !== false && /^\s*http:/i.test(part)) {
        yield faultAt(path, { value: address, expected: 'host:port: http:// is without TLS, and tls is set' });
      }
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      const named = error.part === address ? '' : `${JSON.stringify(error.part)} to be `;
      yield faultAt(path, { value: address, expected: `${named}${error.expected}` });
    }
  }
}

function* certificates(at: string[], { config: { tls }, pem }: LoadedUpstream): Iterable<FileFault> {
  if (typeof tls === 'boolean') return;
  const path = [...at, 'tls'];
  if (pem.cert && !pem.key) yield faultAt([...path, 'cert'], { value: tls.cert, expected: 'a `key` beside it' });
  if (pem.key && !pem.cert) yield faultAt([...path, 'key'], { value: tls.key, expected: 'a `cert` beside it' });
  const wrong = (options: object) => {
    try {
      createSecureContext(options);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const ca =
    pem.ca &&
    (/-----BEGIN [A-Z ]*CERTIFICATE-----/.test(pem.ca.toString('latin1'))
      ? wrong({ ca: pem.ca })
      : 'no certificate in it');
  if (ca) yield faultAt([...path, 'ca'], { value: tls.ca, expected: `certificates in PEM form (${ca})` });
  const own = pem.cert && pem.key && wrong({ cert: pem.cert, key: pem.key });
  if (own) {
    const expected = `a certificate in PEM form and, under \`key\`, its own key (${own})`;
    yield faultAt([...path, 'cert'], { value: tls.cert, expected });
  }
}
