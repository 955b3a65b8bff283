import type { FileFault } from '@sluice/config';
import { type Binding, RouteConflict, RouteTable } from '@sluice/transcode';
import { type LeftOut, type LoadedUpstream, rulePath } from './loaded.js';

/**
 * Finds services that two upstreams serve, and rules of two methods for the same requests. Of the latter, those of an upstream with
 * `unusable_rules: skip` are left out.
 */
export function resolveConflicts(
  upstreams: readonly LoadedUpstream[],
  faults: FileFault[],
  leftOut: LeftOut[],
): LoadedUpstream[] {
  const twice = servedTwice(upstreams, faults);
  const table = new RouteTable<LoadedUpstream>();
  const dropped = new Set<Binding>();
  // What may be left out comes last, so that it gives way.
  const skips = (upstream: LoadedUpstream) => (upstream.config.unusable_rules === 'skip' ? 1 : 0);
  for (const upstream of upstreams.toSorted((a, b) => skips(a) - skips(b))) {
    for (const binding of upstream.bindings) {
      if (twice.has(binding.method.service)) continue;
      try {
        table.add(binding, upstream);
      } catch (error) {
        if (!(error instanceof RouteConflict)) throw error;
        dropped.add(binding);
        const reason = conflictText(error as RouteConflict<LoadedUpstream>);
        if (skips(upstream)) leftOut.push({ upstream: upstream.config.name, reason });
        else faults.push({ path: rulePath(upstream.config, binding), message: `${reason}: expected ${REMEDY}` });
      }
    }
  }
  return upstreams.map((each) => ({ ...each, bindings: each.bindings.filter((binding) => !dropped.has(binding)) }));
}

const REMEDY =
  'one of them to go: an http.rules entry with its selector replaces the annotation, one with none: true takes it away; path_prefix moves all of an upstream';

function conflictText({ before, after }: RouteConflict<LoadedUpstream>): string {
  const one = ({ binding, payload }: typeof before) => `${binding.source} of upstream ${payload.config.name}`;
  return `two rules match the same requests: ${one(before)} and ${one(after)}`;
}

/** The services that more than one upstream serves. */
function servedTwice(upstreams: readonly LoadedUpstream[], faults: FileFault[]): ReadonlySet<string> {
  const servers = new Map<string, string>();
  const twice = new Set<string>();
  for (const { config, methods } of upstreams) {
    for (const service of new Set(methods.map((method) => method.service))) {
      const other = servers.get(service);
      servers.set(service, config.name);
      if (other === undefined) continue;
      twice.add(service);
      // Two upstreams of one name are told elsewhere.
      if (other === config.name) continue;
      faults.push({
        path: ['upstreams', config.name, config.services ? 'services' : 'descriptor_set'],
        message: `${service} is served by the upstreams ${other} and ${config.name}: expected one of them; \`services\` says what each serves`,
      });
    }
  }
  return twice;
}
