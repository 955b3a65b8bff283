import { createMemoryStore } from '@sluice/limit';
import { createLogger, Registry } from '@sluice/telemetry';
import { readGatewayFile } from './config/gateway-file.js';
import { clientBounds } from './listener/client-bounds.js';
import { Clients } from './listener/clients.js';
import { Observer } from './observe.js';
import type { Access } from './route/access.js';
import { buildRuntime, type Runtime } from './runtime.js';
import type { Upstream } from './upstream/upstream.js';

/**
 * What a configuration would serve: a line for each HTTP rule, with the method behind it, its upstream and who may call it.
 * Everything is checked as at a start; nothing is opened.
 *
 * @throws ConfigurationError when the configuration cannot work
 */
export function routeList(configFile: string): string {
  const config = readGatewayFile(configFile);
  const runtime = buildRuntime(config, {
    configFile,
    secret: undefined,
    limitsEnabled: true,
    store: createMemoryStore(),
    observer: new Observer(
      createLogger('gateway', 'fatal'),
      undefined,
      new Registry(),
      () => undefined,
      () => undefined,
    ),
    clients: new Clients(clientBounds(config, { all: 1, perAddress: 1 })),
    current: () => undefined,
  });
  const rows = runtime.upstreams.flatMap((upstream) => {
    return upstream.methods.flatMap((method) => {
      const access = accessOfMethod(runtime, upstream, method.path);
      if (!access) return [];
      const rules = upstream.bindings.filter((binding) => binding.method === method);
      const routes = rules.map(({ httpMethod, template }) => [httpMethod, template.source]);
      const shown = routes.length > 0 ? routes : [['-', 'gRPC and gRPC-Web only']];
      return shown.map((route) => [...route, method.path, nameOf(upstream), whoMay(access)]);
    });
  });
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [...lines, ...runtime.leftOut.map(({ upstream, reason }) => `left out of ${upstream}: ${reason}`)].join('\n');
}

/** At some host that the upstream is for. */
function accessOfMethod(runtime: Runtime, upstream: Upstream, path: string): Access | undefined {
  for (const { grpc } of [runtime.routes, ...runtime.routesByHost.values()]) {
    const target = grpc.get(path)?.grpc.target;
    if (target?.place.kind === 'upstream' && target.place.upstream === upstream) return target.access;
  }
  return undefined;
}

function nameOf({ name, config: { hosts } }: Upstream): string {
  return hosts === undefined ? name : `${name} (${hosts.join(', ')})`;
}

function whoMay({ public: open, roles, noGuests }: Access): string {
  if (open) return 'anyone';
  if (roles.length > 0) return roles.join(' or ');
  return noGuests ? 'signed in, no guests' : 'signed in';
}
