import { isDeepStrictEqual } from 'node:util';
import {
  createVerifier,
  discoveredKeySet,
  httpKeySet,
  type JsonWebKeySet,
  KeyVerifier,
  type TokenVerifier,
} from '@sluice/identity';
import type { LimitStore } from '@sluice/limit';
import { lookUpKey } from './authenticate/key-look-up.js';
import { keysFromUpstream } from './authenticate/key-source.js';
import { RevocationWatch } from './authenticate/revocations.js';
import { examine } from './config/examine.js';
import { located } from './config/gateway-file.js';
import type { LeftOut } from './config/loaded.js';
import type { AuthConfig, GatewayConfig } from './config/schema.js';
import { Limiter } from './limit/limit.js';
import type { Clients } from './listener/clients.js';
import { healthChecks, healthMethod } from './local/health.js';
import { ownGrpcMethods } from './local/own-grpc.js';
import { myLimits } from './local/my-limits.js';
import type { CallLog, Observer } from './observe.js';
import { trustedProxies } from './preflight/address.js';
import type { HostRules, PreflightRules } from './preflight/preflight.js';
import { CommonFields, type CommonFieldsOfSchemes, hstsField } from './respond/common-fields.js';
import { buildRoutes } from './route/build-routes.js';
import { ByHost, hostSet } from './preflight/hosts.js';
import type { Routes } from './route/route.js';
import { KnownTenants } from './tenant/known-tenants.js';
import { tenantRules } from './tenant/said-tenant.js';
import { SessionStreams, streamsOfKey } from './streams/session-streams.js';
import { createUpstream, type Upstream } from './upstream/upstream.js';

/** Everything that a configuration file determines. A reload makes a new one; calls in flight keep theirs. */
export interface Runtime {
  readonly config: GatewayConfig;
  /** What a host gets that no upstream names. */
  readonly routes: Routes;
  /** What the hosts of each pattern get that an upstream names. */
  readonly routesByHost: ReadonlyMap<string, Routes>;
  readonly upstreams: readonly Upstream[];
  /** What the descriptor sets have and is not served. */
  readonly leftOut: readonly LeftOut[];
  /** Undefined: the gateway does not ask who is calling. */
  readonly verifier: TokenVerifier | undefined;
  /** Undefined: API keys are not taken. */
  readonly apiKeys: KeyVerifier | undefined;
  /** Undefined: nobody tells of ended sessions. */
  readonly revocations: RevocationWatch | undefined;
  /** Open streams of callers, by their sessions. */
  readonly sessionStreams: SessionStreams;
  readonly limiter: Limiter;
  /** Outlives the configuration: what was learned stays known. */
  readonly tenants: KnownTenants;
  readonly preflight: PreflightRules;
  /** What answers have in common. */
  readonly common: CommonFieldsOfSchemes;
  readonly log: CallLog;
  /** Who is connected, and what is held for whom. */
  readonly clients: Clients;
  /** Calls by this configuration whose answers have not ended. */
  readonly inFlight: { calls: number };
  /** What `/readyz` and `GET /health` say of each upstream. */
  readonly health: () => Promise<Record<string, string>>;
}

export interface RuntimeParts {
  readonly configFile: string;
  /** GATEWAY_SECRET, from which that of each trusted upstream is derived. */
  readonly secret: string | undefined;
  readonly limitsEnabled: boolean;
  readonly store: LimitStore;
  readonly observer: Observer;
  readonly clients: Clients;
  /** False while the gateway shuts down. */
  takesCalls?(): boolean;
  /** What is in force at the time of asking, also after reloads. */
  current(): Runtime | undefined;
}

/**
 * Nothing is connected or started by it.
 *
 * @throws ConfigurationError with everything in the configuration that cannot work
 */
export function buildRuntime(config: GatewayConfig, parts: RuntimeParts): Runtime {
  const { loaded, faults } = examine(config, parts.configFile);
  if (faults.length > 0) throw located(parts.configFile, faults);
  const authenticates = config.auth.mode !== 'none';
  const before = new Map(parts.current()?.upstreams.map((upstream) => [upstream.name, upstream]));
  const upstreams = loaded.upstreams.map((upstream) =>
    createUpstream(upstream, authenticates, before.get(upstream.config.name), parts.secret),
  );
  const sessionStreams =
    parts.current()?.sessionStreams ?? new SessionStreams(() => parts.current()?.verifier?.revocations);
  const tenants = parts.current()?.tenants ?? new KnownTenants();
  tenants.configure([
    config.tenants.default,
    ...Object.values(config.tenants.hosts),
    ...Object.values(config.tenants.tiers).flat(),
  ]);
  const health = healthChecks(() => upstreams.map((upstream) => [upstream.name, upstream.channel] as const));
  const serving = {
    upstreams: () => (parts.current()?.health ?? health)(),
    takesCalls: parts.takesCalls ?? (() => true),
  };
  const [routes, ...ofHosts] = loaded.sites.map(({ served }) => {
    const site = served.map(({ upstream: name, ...rest }) => ({
      upstream: upstreams.find((upstream) => upstream.name === name)!,
      ...rest,
    }));
    const local = { GetHealth: healthMethod(() => healthOf(site, health)), GetMyLimits: myLimits };
    return buildRoutes(site, local, authenticates, config.sizes.body, ownGrpcMethods(config.grpc, site, serving));
  });
  const routesByHost = new Map(ofHosts.map((each, index) => [loaded.sites[index + 1]!.pattern!, each]));
  return {
    config,
    routes: routes!,
    routesByHost,
    upstreams,
    ...authentication(config.auth, upstreams, sessionStreams, parts),
    sessionStreams,
    limiter: new Limiter(config.limits, parts.store, parts.limitsEnabled, (exchange, decision) =>
      parts.observer.decided(exchange, decision),
    ),
    tenants,
    leftOut: loaded.leftOut,
    preflight: {
      trusted: trustedProxies(config.trusted_proxies),
      announced: trustedProxies(config.proxy_protocol),
      tenants: tenantRules(config.tenants),
      apiKeys: config.auth.mode === 'jwt' && config.auth.api_keys !== undefined,
      fieldsMax: config.sizes.header_count,
      hosts: hostRules(config, routes!, routesByHost),
    },
    common: CommonFields.ofSchemes(hstsField(config.tls.hsts)),
    log: parts.observer,
    clients: parts.clients,
    inFlight: { calls: 0 },
    health,
  };
}

/** Of what is known of all upstreams, what concerns those that a host gets. */
async function healthOf(
  site: readonly { readonly upstream: Upstream }[],
  health: () => Promise<Record<string, string>>,
): Promise<Record<string, string>> {
  const all = await health();
  return Object.fromEntries(site.map(({ upstream: { name } }) => [name, all[name]!]));
}

/** Undefined when nothing in the configuration depends on hosts, so that nobody looks at them. */
function hostRules(
  config: GatewayConfig,
  others: Routes,
  routesByHost: ReadonlyMap<string, Routes>,
): HostRules | undefined {
  const ofPolicies = config.limits.policies.some(({ match }) => match.hosts !== undefined);
  const ofTenants = Object.keys(config.tenants.hosts).length > 0;
  if (config.hosts === undefined && routesByHost.size === 0 && !ofPolicies && !ofTenants) return undefined;
  const routes = new ByHost(routesByHost);
  return {
    served: config.hosts === undefined ? () => true : hostSet(config.hosts),
    routesOf: (hostname) => routes.get(hostname) ?? others,
  };
}

/** Whether a configuration that was read again says what the one in force says, its descriptor sets and PEM files too. */
export function isAsBefore(before: Runtime, next: Runtime): boolean {
  const files = (runtime: Runtime) =>
    runtime.upstreams.map(({ channelOptions, digest }) => ({ channelOptions, digest }));
  return isDeepStrictEqual(next.config, before.config) && isDeepStrictEqual(files(next), files(before));
}

/** The verifier of the configuration, and the one in force when it is configured alike, since it knows tokens and ended sessions already. */
function authentication(
  auth: AuthConfig,
  upstreams: readonly Upstream[],
  sessionStreams: SessionStreams,
  parts: RuntimeParts,
): Pick<Runtime, 'verifier' | 'apiKeys' | 'revocations'> {
  if (auth.mode === 'none') return { verifier: undefined, apiKeys: undefined, revocations: undefined };
  const before = parts.current();
  if (before?.verifier && isDeepStrictEqual(before.config.auth, auth)) {
    // These alone: its routes and channels are the old ones.
    const { verifier, apiKeys, revocations } = before;
    return { verifier, apiKeys, revocations };
  }
  const named = (name: string) => upstreamNamed(name, upstreams, parts.current);
  const verifier = createVerifier({
    issuer: auth.issuer,
    audience: unlessAny(auth.audience),
    algorithms: auth.algorithms,
    typ: unlessAny(auth.typ),
    clockToleranceMs: auth.clock_tolerance,
    cacheSize: auth.cache_size,
    claims: auth.claims,
    defaultTenant: auth.default_tenant,
    keys: keySource(auth, named),
    onKeysMissed: (error) => parts.observer.keysMissed(error),
  });
  verifier.revocations.onRevoked = (session) => sessionStreams.ended(session);
  const apiKeys = auth.api_keys && keyVerifier(auth, auth.api_keys, named, () => revocations?.fresh ?? false);
  const revocations: RevocationWatch | undefined =
    auth.revocations &&
    new RevocationWatch({
      list: verifier.revocations,
      upstream: named(auth.revocations.upstream),
      whenLost: auth.revocations.when_lost,
      keysEnded(changes) {
        apiKeys?.forget(new Set(changes.map(({ keyId }) => keyId)));
        for (const { keyId, ended } of changes) if (ended) sessionStreams.ended(streamsOfKey(keyId));
      },
      changed: (fresh, reason) => parts.observer.revocationsChanged(fresh, reason),
    });
  return { verifier, apiKeys, revocations };
}

/** While the stream of ended keys is lost they are asked about each second where tokens are introspected, too. */
function keyVerifier(
  { cache_size: cacheSize, revocations }: AuthConfig & { mode: 'jwt' },
  { upstream, max_age: maxAgeMs, environments }: NonNullable<(AuthConfig & { mode: 'jwt' })['api_keys']>,
  named: (name: string) => () => Upstream,
  fresh: () => boolean,
): KeyVerifier {
  const asked = named(upstream);
  return new KeyVerifier({
    lookUp: (digest) => lookUpKey(asked(), digest),
    environments,
    maxAgeMs,
    told: revocations?.when_lost === 'introspect' ? fresh : undefined,
    cacheSize,
  });
}

/** `any` is what a configuration says that asks for none. */
const unlessAny = (text: string | undefined) => (text === 'any' ? undefined : text);

function keySource(
  { keys, issuer }: AuthConfig & { mode: 'jwt' },
  named: (name: string) => () => Upstream,
): () => Promise<JsonWebKeySet> {
  // Where there are no keys, the checks have made sure of an issuer.
  if (keys === undefined) return discoveredKeySet(issuer!);
  if ('jwks_url' in keys) return httpKeySet(keys.jwks_url);
  const upstream = named(keys.upstream);
  return () => keysFromUpstream(upstream());
}

/** Finds an upstream as it is configured at the time of asking: a reload replaces channels, not what uses them. */
function upstreamNamed(
  name: string,
  upstreams: readonly Upstream[],
  current: () => Runtime | undefined,
): () => Upstream {
  const find = (among: readonly Upstream[]) => among.find((upstream) => upstream.name === name);
  const configured = find(upstreams)!;
  return () => find(current()?.upstreams ?? upstreams) ?? configured;
}
