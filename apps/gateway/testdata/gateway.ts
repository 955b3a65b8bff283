import { createMemoryStore } from '@sluice/limit';
import { createLogger, Registry } from '@sluice/telemetry';
import { gatewayConfigSchema } from '../src/config/schema.js';
import { clientBounds } from '../src/listener/client-bounds.js';
import { Clients } from '../src/listener/clients.js';
import { listen, type Listener } from '../src/listener/listener.js';
import type { ListenerOptions } from '../src/listener/options.js';
import { Observer } from '../src/observe.js';
import { handle } from '../src/pipeline.js';
import { hstsField } from '../src/respond/common-fields.js';
import { buildRuntime, type Runtime } from '../src/runtime.js';
import { echoDescriptorSet } from './echo-server.js';

/** The root secret of the gateway. */
export const GATEWAY_SECRET = 'a secret of sixteen or more characters';

export interface TestGateway {
  readonly origin: string;
  readonly port: number;
  readonly runtime: Runtime;
  readonly metrics: Registry;
  readonly listener: Listener;
  stop(): Promise<void>;
}

/**
 * The gateway in this process, before the echo service at `address`, on a free port. `over` is laid over the configuration,
 * but for `listener`, which is laid over the options of the listener, and `connections`, how many there may be (`all`, `perAddress`).
 */
export async function startTestGateway(address: string, over: Record<string, unknown> = {}): Promise<TestGateway> {
  const { upstream, listener: options, connections, ...rest } = over;
  const config = gatewayConfigSchema.parse({
    upstreams: [{ name: 'echo', address, descriptor_set: echoDescriptorSet, ...(upstream as object | undefined) }],
    ...rest,
  });
  const metrics = new Registry();
  let runtime: Runtime | undefined;
  let listener: Listener | undefined;
  const observer = new Observer(
    createLogger('gateway', 'fatal'),
    undefined,
    metrics,
    () => runtime,
    () => listener,
  );
  const store = createMemoryStore();
  const clients = new Clients(clientBounds(config, { all: 1000, perAddress: 1000, ...(connections as object) }));
  observer.watchMemory(clients, metrics);
  const built = buildRuntime(config, {
    configFile: '/',
    secret: GATEWAY_SECRET,
    limitsEnabled: true,
    store,
    observer,
    clients,
    current: () => runtime,
  });
  runtime = built;
  const opened = await listen(
    {
      host: '127.0.0.1',
      port: 0,
      tls: undefined,
      hsts: () => hstsField(config.tls.hsts),
      clients,
      isProxy: (address) => built.preflight.trusted(address),
      isAnnounced: (address) => built.preflight.announced(address),
      onSettingsAck: (ms) => observer.settingsAcknowledged(ms),
      limits: config,
      ...(options as Partial<ListenerOptions> | undefined),
    },
    (transport) => handle(transport, built),
  );
  listener = opened;
  return {
    origin: `http://127.0.0.1:${opened.port}`,
    port: opened.port,
    runtime: built,
    metrics,
    listener: opened,
    async stop() {
      await opened.close(1000);
      await Promise.all(built.upstreams.map((each) => each.channel.close(0)));
    },
  };
}

/** Options of a listener's TLS port with these certificates; clients are not asked for one unless `over` says so. */
export function tlsOptions(
  files: readonly { readonly cert: string; readonly key: string }[],
  over: Partial<NonNullable<ListenerOptions['tls']>> = {},
): NonNullable<ListenerOptions['tls']> {
  const certificates = files.map((each) => ({ setting: 'test', ...each }));
  return { port: 0, certificates, clientCa: undefined, clientsNeedCertificates: false, ...over };
}
