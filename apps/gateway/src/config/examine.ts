import type { FileFault } from '@sluice/config';
import { methodOption } from '@sluice/transcode';
import { ownSchema } from '../local/own-services.js';
import { ACCESS_OPTION, accessOf, everyone } from '../route/access.js';
import { ownBindings } from '../route/own-bindings.js';
import { access } from './checks/access.js';
import { auth } from './checks/auth.js';
import type { Check, HostedRoute, Subject } from './checks/check.js';
import { cors } from './checks/cors.js';
import { hosts } from './checks/hosts.js';
import { limits } from './checks/limits.js';
import { memory } from './checks/memory.js';
import { proxies } from './checks/proxies.js';
import { selectors } from './checks/selectors.js';
import { streams } from './checks/streams.js';
import { tenants } from './checks/tenants.js';
import { upstreams } from './checks/upstreams.js';
import { loadConfig } from './load.js';
import type { LoadedConfig } from './loaded.js';
import type { GatewayConfig } from './schema.js';

/** Everything that is asked of a configuration besides its shape. */
const checks: readonly Check[] = [
  upstreams,
  hosts,
  selectors,
  access,
  auth,
  cors,
  proxies,
  memory,
  streams,
  tenants,
  limits,
];

/**
 * Reads what the configuration names, and finds everything in it that cannot work or can never have an effect.
 *
 * @param part the configuration is not all of the file, since the rest cannot be read
 */
export function examine(
  config: GatewayConfig,
  configFile: string,
  part = false,
): { loaded: LoadedConfig; subject: Subject; faults: FileFault[] } {
  const faults: FileFault[] = [];
  const loaded = loadConfig(config, configFile, faults);
  const authenticates = config.auth.mode !== 'none';
  const routes = routesOf(loaded, authenticates);
  const subject: Subject = {
    ...loaded,
    authenticates,
    part,
    routes,
    methods: [...new Set(routes.map(({ target }) => target.method))],
    complete: !part && loaded.upstreams.length === config.upstreams.length,
  };
  for (const check of checks) faults.push(...check(subject));
  return { loaded, subject, faults };
}

function routesOf({ config, upstreams: served }: LoadedConfig, authenticates: boolean): HostedRoute[] {
  const own = ownBindings(authenticates).map(({ binding, access: rule }) => ({
    binding,
    target: { method: binding.method, access: rule },
    hosts: undefined,
  }));
  const behind = served.flatMap(({ config: upstream, schema, methods, bindings }) =>
    methods.flatMap((method): HostedRoute[] => {
      const option = methodOption(schema, method, ACCESS_OPTION);
      const target = { method, access: accessOf(method, upstream.access, option, authenticates) };
      const rules = bindings.filter((binding) => binding.method === method);
      const { hosts: own } = upstream;
      return [undefined, ...rules].map((binding) => ({ target, binding, hosts: own }));
    }),
  );
  const { health, reflection } = config.grpc;
  const overGrpc = [...ownSchema.methods.values()]
    .filter(({ service }) => (service.startsWith('grpc.health.') ? health : reflection))
    .map((method) => ({ target: { method, access: everyone }, binding: undefined, hosts: undefined }));
  return [...own, ...overGrpc, ...behind];
}
