import { descriptorSetPath } from '@sluice/contract';
import { ConfigurationError } from '@sluice/config';
import { createVerifier, httpKeySet, type JsonWebKeySet, type TokenVerifier } from '@sluice/identity';
import type { LimitStore } from '@sluice/limit';
import { compileBindings, loadSchema, methodOption, RouteTable, SchemaError } from '@sluice/transcode';
import type { Schema } from '@sluice/transcode';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { keysFromUpstream } from './authenticate/key-source.js';
import type { AuthConfig, GatewayConfig, UpstreamConfig } from './config/schema.js';
import type { Exchange } from './exchange.js';
import { Limiter } from './limit/limit.js';
import { healthChecks, healthMethod } from './local/health.js';
import { myLimits } from './local/my-limits.js';
import type { LocalMethod } from './local/local.js';
import type { CallLog, Observer } from './observe.js';
import { trustedProxies } from './preflight/address.js';
import type { PreflightRules } from './preflight/preflight.js';
import { accessOf } from './route/access.js';
import type { GrpcRoutes, Route, Target } from './route/route.js';
import { createUpstream, servedMethods, timeoutOf, type Upstream } from './upstream/upstream.js';

/** Everything that a configuration file determines. A reload makes a new one; calls in flight keep theirs. */
export interface Runtime {
  readonly config: GatewayConfig;
  readonly routes: RouteTable<Route>;
  readonly grpcRoutes: GrpcRoutes;
  readonly upstreams: readonly Upstream[];
  /** Undefined: the gateway does not ask who is calling. */
  readonly verifier: TokenVerifier | undefined;
  readonly limiter: Limiter;
  readonly preflight: PreflightRules;
  /** The gateway's secret, for trusted upstreams. */
  readonly secret: string | undefined;
  readonly log: CallLog;
  readonly inFlight: Set<Exchange>;
  /** What `/readyz` and `GET /health` say of each upstream. */
  readonly health: () => Promise<Record<string, string>>;
}

export interface RuntimeParts {
  readonly configFile: string;
  readonly secret: string | undefined;
  readonly limitsEnabled: boolean;
  readonly store: LimitStore;
  readonly observer: Observer;
  readonly inFlight: Set<Exchange>;
  /** What is in force at the time of asking, also after reloads. */
  current(): Runtime | undefined;
}

/** @throws ConfigurationError that names what in the file cannot work */
export function buildRuntime(config: GatewayConfig, parts: RuntimeParts): Runtime {
  try {
    return build(config, parts);
  } catch (error) {
    if (error instanceof SchemaError) throw new ConfigurationError([error.message]);
    throw error;
  }
}

function build(config: GatewayConfig, parts: RuntimeParts): Runtime {
  const authenticates = config.auth.mode !== 'none';
  const names = config.upstreams.map((upstream) => upstream.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new ConfigurationError([`upstreams: ${twice}: expected names that differ`]);
  const upstreams = config.upstreams.map((upstream) => createUpstream(upstream, parts.configFile, authenticates));
  const health = healthChecks(() => upstreams.map((upstream) => [upstream.name, upstream.channel] as const));

  const routes = new RouteTable<Route>();
  const grpcRoutes = new Map<string, Record<'grpc' | 'grpc-web' | 'grpc-web-text', Route>>();
  const addTarget = (target: Target) => {
    const { path } = target.method;
    if (grpcRoutes.has(path)) throw new ConfigurationError([`upstreams: ${path} is served by two of them`]);
    const of = (form: 'grpc' | 'grpc-web' | 'grpc-web-text'): Route => ({ form, target, binding: undefined });
    grpcRoutes.set(path, { grpc: of('grpc'), 'grpc-web': of('grpc-web'), 'grpc-web-text': of('grpc-web-text') });
  };
  const addRoutes = (schema: Schema, options: Parameters<typeof compileBindings>[1], targets: Map<string, Target>) => {
    for (const target of targets.values()) addTarget(target);
    for (const binding of compileBindings(schema, options)) {
      const target = targets.get(binding.method.path);
      if (target) routes.add(binding, { form: 'rest', target, binding });
    }
  };
  for (const upstream of upstreams) {
    addRoutes(upstream.schema, routeOptions(upstream.config), upstreamTargets(upstream, authenticates));
  }
  addLocalRoutes(routes, { GetHealth: healthMethod(health), GetMyLimits: myLimits }, authenticates);

  return {
    config,
    routes,
    grpcRoutes,
    upstreams,
    verifier: verifierOf(config.auth, upstreams, parts.current),
    limiter: new Limiter(config.limits, parts.store, parts.limitsEnabled, (decision) =>
      parts.observer.decided(decision),
    ),
    preflight: { trusted: trustedProxies(config.trusted_proxies), fieldsMax: config.sizes.header_count },
    secret: parts.secret,
    log: parts.observer,
    inFlight: parts.inFlight,
    health,
  };
}

const GATEWAY_SERVICE = 'sluice.gateway.v1.GatewayService';
const LOCAL_TIMEOUT_MS = 5000;
const ACCESS_OPTION = 'sluice.access.v1.access';

function upstreamTargets(upstream: Upstream, authenticates: boolean): Map<string, Target> {
  const { config, schema, channel } = upstream;
  return new Map(
    servedMethods(upstream).map((method) => {
      const option = methodOption(schema, method, ACCESS_OPTION);
      const access = accessOf(method, config.access, option, authenticates);
      const place = { kind: 'upstream' as const, upstream, handle: channel.method(method.path) };
      return [method.path, { method, access, timeoutMs: timeoutOf(config, method), place }];
    }),
  );
}

/** The gateway's own methods. Where an upstream has a rule for the same path, the upstream's counts. */
function addLocalRoutes(
  routes: RouteTable<Route>,
  methods: Readonly<Record<string, LocalMethod>>,
  authenticates: boolean,
): void {
  const schema = loadSchema(readFileSync(descriptorSetPath), descriptorSetPath);
  for (const binding of compileBindings(schema, { services: [GATEWAY_SERVICE], json: { protoNames: true } })) {
    const { method } = binding;
    const access = accessOf(method, [], methodOption(schema, method, ACCESS_OPTION), authenticates);
    const place = { kind: 'local' as const, serve: methods[method.name]! };
    const target: Target = { method, access, timeoutMs: LOCAL_TIMEOUT_MS, place };
    try {
      routes.add(binding, { form: 'rest', target, binding });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
  }
}

function routeOptions(config: UpstreamConfig): Parameters<typeof compileBindings>[1] {
  return {
    overrides: config.http.rules,
    pathPrefix: config.path_prefix,
    ignoreUnknownQuery: config.ignore_unknown_query,
    unannotated: config.unannotated,
    services: config.services,
    json: {
      printDefaults: config.json.print_defaults,
      enumNumbers: config.json.enum_numbers,
      protoNames: config.json.proto_names,
    },
  };
}

/** The verifier of the configuration; the one in force when it is configured alike, since it knows tokens already. */
function verifierOf(
  auth: AuthConfig,
  upstreams: readonly Upstream[],
  current: () => Runtime | undefined,
): TokenVerifier | undefined {
  if (auth.mode === 'none') return undefined;
  const before = current();
  if (before?.verifier && isDeepStrictEqual(before.config.auth, auth)) return before.verifier;
  return createVerifier({
    issuer: auth.issuer,
    audience: auth.audience,
    algorithms: auth.algorithms,
    typ: auth.typ,
    clockToleranceMs: auth.clock_tolerance,
    cacheSize: auth.cache_size,
    claims: auth.claims,
    defaultTenant: auth.default_tenant,
    keys: keySourceOf(auth.keys, upstreams, current),
  });
}

function keySourceOf(
  keys: (AuthConfig & { mode: 'jwt' })['keys'],
  upstreams: readonly Upstream[],
  current: () => Runtime | undefined,
): () => Promise<JsonWebKeySet> {
  if ('jwks_url' in keys) return httpKeySet(keys.jwks_url);
  const find = (among: readonly Upstream[]) => among.find((upstream) => upstream.name === keys.upstream);
  if (!find(upstreams)) {
    throw new ConfigurationError([`auth.keys.upstream: ${keys.upstream}: expected the name of an upstream`]);
  }
  return () => keysFromUpstream(find(current()?.upstreams ?? upstreams)!);
}
