import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { ConfigurationError, type SettingsOf } from '@sluice/config';
import type { Caller } from '@sluice/identity';
import { createMemoryStore, type LimitStore, openRedisStore, RedisUrlError } from '@sluice/limit';
import { type Logger, METRICS, type Registry } from '@sluice/telemetry';
import { AccessLog } from './access-log.js';
import { readGatewayFile } from './config/gateway-file.js';
import type { GatewayConfig } from './config/schema.js';
import { watchFiles } from './config/watch.js';
import type { TlsFiles } from './listener/certificates.js';
import { clientBounds } from './listener/client-bounds.js';
import { Clients } from './listener/clients.js';
import { listen, type Listener } from './listener/listener.js';
import { Observer } from './observe.js';
import { handle } from './pipeline.js';
import { boundMethods } from './limit/policies.js';
import { matchRest } from './route/route.js';
import { hostnameOf } from './preflight/hosts.js';
import { RetiredRuntimes } from './retired.js';
import { hstsField } from './respond/common-fields.js';
import { buildRuntime, isAsBefore, type Runtime, type RuntimeParts } from './runtime.js';
import type { settings } from './settings.js';

export const SETTINGS = Symbol('settings');
export const LOGGER = Symbol('logger');

/** Connects the listener to the pipeline, and holds what one configuration after another has in common. */
@Injectable()
export class GatewayService implements OnApplicationShutdown {
  private runtime: Runtime | undefined;
  private listener: Listener | undefined;
  private store: LimitStore | undefined;
  private accessLog: AccessLog | undefined;
  private draining = false;
  private unwatch: () => void = () => undefined;
  private readonly retired = new RetiredRuntimes(() => this.runtime!);

  constructor(
    @Inject(SETTINGS) private readonly values: SettingsOf<typeof settings>,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(METRICS) private readonly metrics: Registry,
  ) {}

  /** @throws ConfigurationError when the configuration cannot work or a port is taken */
  async start(): Promise<void> {
    const { values } = this;
    // None of its lines is of a higher level.
    if (values.ACCESS_LOG && this.logger.isLevelEnabled('warn')) {
      this.accessLog = new AccessLog(this.logger, values.ACCESS_LOG_REFUSALS_PER_SECOND, this.metrics);
    }
    const config = readGatewayFile(values.GATEWAY_CONFIG);
    const observer = new Observer(
      this.logger,
      this.accessLog,
      this.metrics,
      () => this.runtime,
      () => this.listener,
    );
    const clients = new Clients(
      clientBounds(config, {
        all: values.GATEWAY_MAX_CONNECTIONS,
        perAddress: values.GATEWAY_MAX_CONNECTIONS_PER_ADDRESS,
      }),
    );
    observer.watchMemory(clients, this.metrics);
    const parts: RuntimeParts = {
      configFile: values.GATEWAY_CONFIG,
      secret: values.GATEWAY_SECRET,
      limitsEnabled: values.RATE_LIMIT_ENABLED,
      store: (this.store = await this.openStore(config.limits.max_keys, observer)),
      observer,
      clients,
      takesCalls: () => !this.draining,
      current: () => this.runtime,
    };
    this.runtime = buildRuntime(config, parts);
    this.tellLeftOut(this.runtime);
    this.watch(parts, observer);
    this.runtime.revocations?.start();
    this.runtime.verifier?.ready();
    const tls = this.tls(config);
    this.listener = await listen(
      {
        host: values.GATEWAY_HOST,
        port: values.GATEWAY_PORT,
        tls: tls && { ...tls, port: values.GATEWAY_TLS_PORT },
        hsts: () => hstsField(this.runtime!.config.tls.hsts),
        clients,
        isProxy: (address) => this.runtime!.preflight.trusted(address),
        isAnnounced: (address) => this.runtime!.preflight.announced(address),
        onSettingsAck: (ms) => observer.settingsAcknowledged(ms),
        limits: config,
      },
      (transport) => handle(transport, this.runtime!),
    );
    this.logger.info({ port: this.listener.port, tls_port: this.listener.tlsPort }, 'ready');
  }

  private tellLeftOut({ leftOut }: Runtime): void {
    for (const { upstream, reason } of leftOut) {
      this.logger.warn({ upstream, reason }, 'left out of what is served');
    }
  }

  /** Takes a changed configuration over; one that cannot work is reported with its line, and the old one stays. */
  private reload(parts: RuntimeParts, observer: Observer, reason: string): void {
    const before = this.runtime!;
    let next: Runtime;
    try {
      const config = readGatewayFile(parts.configFile);
      this.tls(config);
      next = buildRuntime(config, parts);
    } catch (error) {
      observer.reloaded(false);
      const faults = error instanceof ConfigurationError ? error.faults : [String(error)];
      this.logger.error({ reason, faults }, 'the changed configuration cannot work; the old one stays in force');
      return;
    }
    const tlsChanged = !isDeepStrictEqual(before.config.tls, next.config.tls);
    if (isAsBefore(before, next)) {
      this.logger.info({ reason }, 'the configuration is as it was');
      return;
    }
    this.runtime = next;
    this.tellLeftOut(next);
    if (next.revocations !== before.revocations) {
      before.revocations?.stop();
      next.revocations?.start();
    } else next.revocations?.follow();
    observer.reloaded(true);
    this.logger.info({ reason }, 'the changed configuration is in force');
    const needsRestart: string[] = (['timeouts', 'sizes', 'http2', 'memory'] as const).filter(
      (key) => !isDeepStrictEqual(before.config[key], next.config[key]),
    );
    if (!isDeepStrictEqual(askedOfClients(before.config), askedOfClients(next.config))) needsRestart.push('tls');
    if (needsRestart.length > 0) {
      this.logger.warn({ keys: needsRestart }, 'open ports keep these settings until the gateway starts again');
    }
    if (tlsChanged) this.renewCertificates(observer, reason);
    this.retired.add(before);
    this.watch(parts, observer);
  }

  private watch(parts: RuntimeParts, observer: Observer): void {
    this.unwatch();
    const again = (reason: string) => this.reload(parts, observer, reason);
    const files = this.runtime!.upstreams.flatMap((upstream) => upstream.files);
    const stopWatching = watchFiles([parts.configFile, ...files], (file) => again(`${file} changed`));
    const tls = this.tls(this.runtime!.config);
    const pems = tls ? [...tls.certificates.flatMap(({ cert, key }) => [cert, key]), tls.clientCa ?? []].flat() : [];
    const stopWatchingTls = watchFiles(pems, (file) => this.renewCertificates(observer, `${file} changed`));
    const onHangup = () => {
      again('SIGHUP');
      this.renewCertificates(observer, 'SIGHUP');
    };
    process.on('SIGHUP', onHangup);
    this.unwatch = () => {
      stopWatching();
      stopWatchingTls();
      process.off('SIGHUP', onHangup);
    };
  }

  /** Which limits a call would meet and what they would say; spends nothing. */
  async explainLimits(asked: {
    method: string;
    path: string;
    caller: Caller | undefined;
    /** Of a call that is not signed in; undefined: it names none. */
    tenant: string | undefined;
    address: string;
    host: string;
  }) {
    const runtime = this.runtime!;
    const hostname = hostnameOf(asked.host);
    const { hosts } = runtime.preflight;
    if (hosts && !hosts.served(hostname)) {
      return { rpc: null, note: 'This host is not served: the answer is 421. --host says another.', policies: [] };
    }
    const routes = hosts?.routesOf(hostname) ?? runtime.routes;
    const match = matchRest(routes.rest, asked.method, asked.path);
    const grpc = routes.grpc.get(asked.path)?.grpc;
    const byGrpc = grpc && boundMethods(grpc).includes(asked.method) ? grpc : undefined;
    const route = match.kind === 'found' ? match.payload : byGrpc;
    if (!route) return { rpc: null, note: 'No route: the answer is 404 or 405.', policies: [] };
    const { target } = route;
    const verdicts = await runtime.limiter.explain({
      transport: { method: asked.method },
      path: asked.path,
      caller: asked.caller,
      tenant: asked.caller?.tenant ?? runtime.tenants.shareOf(asked.tenant ?? runtime.config.tenants.default),
      head: { clientAddress: asked.address, hostname },
      route,
    });
    const notes = [];
    if (!this.values.RATE_LIMIT_ENABLED) notes.push('RATE_LIMIT_ENABLED=false: nothing is enforced.');
    if (!asked.caller && !target.access.public) {
      notes.push('Only signed-in callers come this far: limits that count users need --user.');
    }
    return {
      rpc: target.method.path,
      note: notes.join(' ') || null,
      policies: verdicts.map((verdict) => ({
        policy: verdict.policy.name,
        dimensions: verdict.policy.dimensions,
        limit: verdict.policy.limit,
        window_seconds: verdict.policy.windowMs / 1000,
        remaining: verdict.remaining,
        retry_after_ms: Number.isFinite(verdict.retryAfterMs) ? Math.ceil(verdict.retryAfterMs) : null,
        shadow: verdict.shadow,
        refuses: verdict.refused,
      })),
    };
  }

  /**
   * What keeps the gateway from serving, by name. An upstream that is down does not: the others are served. The ended sessions
   * must have been known once, so that a gateway that starts does not let them in; and keys, so that the first call finds them.
   */
  async missing(): Promise<Record<string, string>> {
    if (this.draining) return { gateway: 'shutting down' };
    if (!this.runtime || !this.listener) return { gateway: 'starting' };
    const { revocations, verifier } = this.runtime;
    return {
      ...(verifier && !verifier.ready() && { keys: 'not known yet' }),
      ...(revocations && revocations.ageSeconds === Infinity && { revocations: 'not known yet' }),
    };
  }

  /** What does not work at present although the gateway serves, by name. */
  async degraded(): Promise<Record<string, string>> {
    if (!this.runtime) return {};
    const states = Object.entries(await this.runtime.health()).filter(([, state]) => state !== 'SERVING');
    const stale = this.runtime.revocations && !this.runtime.revocations.fresh;
    return { ...Object.fromEntries(states), ...(stale && { revocations: 'the stream is lost' }) };
  }

  drain(): void {
    this.draining = true;
  }

  async onApplicationShutdown(): Promise<void> {
    this.unwatch();
    this.runtime?.revocations?.stop();
    const graceMs = this.values.SHUTDOWN_GRACE_SECONDS * 1000;
    await this.listener?.close(graceMs);
    this.accessLog?.flush();
    await Promise.all((this.runtime?.upstreams ?? []).map((upstream) => upstream.channel.close(1000)));
    await this.retired.close(1000);
    await this.store?.close();
  }

  /** @throws ConfigurationError when REDIS_URL cannot be read; a Redis that does not answer is a lost one, not a fault */
  private async openStore(bucketsPerPolicyMax: number, observer: Observer): Promise<LimitStore> {
    const { REDIS_URL: url, REDIS_CA_FILE: ca, REDIS_CERT_FILE: cert, REDIS_KEY_FILE: key } = this.values;
    if ((cert === undefined) !== (key === undefined)) {
      throw new ConfigurationError(['REDIS_CERT_FILE, REDIS_KEY_FILE: expected both or neither']);
    }
    if (url === undefined) {
      if (ca === undefined && cert === undefined) return createMemoryStore({ bucketsPerPolicyMax });
      throw new ConfigurationError(['REDIS_CA_FILE, REDIS_CERT_FILE: expected REDIS_URL beside them, with rediss']);
    }
    const tls = {
      ca: pemOf('REDIS_CA_FILE', ca),
      cert: pemOf('REDIS_CERT_FILE', cert),
      key: pemOf('REDIS_KEY_FILE', key),
    };
    try {
      const store = await openRedisStore(url, {
        tls,
        bucketsPerPolicyMax,
        onStateChange: (state, reason) => {
          const level = state === 'up' ? 'info' : 'error';
          this.logger[level]({ state, reason }, 'the shared store of limits changed its state');
        },
      });
      observer.watchStore(store, this.metrics);
      return store;
    } catch (error) {
      if (error instanceof RedisUrlError) throw new ConfigurationError([`REDIS_URL: ${error.message}`]);
      throw error;
    }
  }

  /**
   * The files of the TLS port; undefined when there is no certificate.
   *
   * @throws ConfigurationError for settings that need one, or half of one
   */
  private tls({ tls }: GatewayConfig): (TlsFiles & { readonly clientsNeedCertificates: boolean }) | undefined {
    const { GATEWAY_TLS_CERT_FILE: cert, GATEWAY_TLS_KEY_FILE: key, GATEWAY_CONFIG: configFile } = this.values;
    if ((cert === undefined) !== (key === undefined)) {
      throw new ConfigurationError(['GATEWAY_TLS_CERT_FILE, GATEWAY_TLS_KEY_FILE: expected both or neither']);
    }
    const beside = (file: string) => resolve(dirname(configFile), file);
    const first = cert === undefined || key === undefined ? [] : [{ setting: 'GATEWAY_TLS_CERT_FILE', cert, key }];
    const others = tls.certificates.map((each, index) => ({
      setting: `tls.certificates.${index}`,
      cert: beside(each.cert),
      key: beside(each.key),
    }));
    const clientCa = tls.client_ca === undefined ? undefined : beside(tls.client_ca);
    const certificates = [...first, ...others];
    if (certificates.length === 0) {
      if (clientCa === undefined) return undefined;
      throw new ConfigurationError([
        'tls.client_ca: expected a certificate of the gateway too: `tls.certificates`, or GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE',
      ]);
    }
    return {
      certificates,
      clientCa,
      clientsNeedCertificates: clientCa !== undefined && tls.client_certificates !== 'optional',
    };
  }

  /** New handshakes get the certificates as they are now; those that cannot be used are reported, and the old ones stay. */
  private renewCertificates(observer: Observer, reason: string): void {
    try {
      const files = this.tls(this.runtime!.config);
      if (files) this.listener?.renewCertificates(files);
    } catch (error) {
      observer.reloaded(false);
      const faults = error instanceof ConfigurationError ? error.faults : [String(error)];
      this.logger.error({ reason, faults }, 'the changed certificates cannot be used; the old ones stay');
      return;
    }
    this.logger.info({ reason, expires: this.listener?.certificatesExpireAt() }, 'the changed certificates are in use');
  }
}

/** What clients are asked for in the handshake, which is settled when the port is opened. */
function askedOfClients({ tls }: GatewayConfig) {
  return { certificate: tls.client_ca !== undefined, mode: tls.client_certificates ?? 'required' };
}

function pemOf(setting: string, file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigurationError([`${setting}=${file}: expected a PEM file (${(error as Error).message})`]);
  }
}
