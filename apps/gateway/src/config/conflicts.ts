import type { FileFault } from '@sluice/config';
import { type Binding, RouteConflict, RouteTable } from '@sluice/transcode';
import { type Member, type Site, serversOf, sitesOf } from '../route/sites.js';
import { type LeftOut, type LoadedSite, type LoadedUpstream, rulePath } from './loaded.js';

/**
 * Finds services that two upstreams serve to the same hosts, and rules of two methods for the same requests. Of the latter, those of an
 * upstream with `unusable_rules: skip` are left out. Where one of the two upstreams is for more specific hosts, its own counts there.
 */
export function resolveConflicts(
  upstreams: readonly LoadedUpstream[],
  faults: FileFault[],
  leftOut: LeftOut[],
): { readonly upstreams: LoadedUpstream[]; readonly sites: LoadedSite[] } {
  const told = new Set<string>();
  const once = (key: string, tell: () => void) => {
    if (told.has(key)) return;
    told.add(key);
    tell();
  };
  const sites = sitesOf(upstreams).map((site) => {
    const twice = servedTwice(site, (fault) => once(fault.message, () => faults.push(fault)));
    return usableRules(site, twice, (conflict, binding, { config }) => {
      const text = conflictText(conflict);
      const reason = `${text}${atHosts(site)}`;
      once(`${config.name} ${text}`, () => {
        if (config.unusable_rules === 'skip') leftOut.push({ upstream: config.name, reason });
        else faults.push({ path: rulePath(config, binding), message: `${reason}: expected ${REMEDY}` });
      });
    });
  });
  const used = new Set(sites.flatMap(({ served }) => served.flatMap(({ bindings }) => bindings)));
  return {
    upstreams: upstreams.map((each) => ({ ...each, bindings: each.bindings.filter((binding) => used.has(binding)) })),
    sites,
  };
}

/**
 * What a site serves. Rules of more specific hosts come first, and what may be left out last, so that it gives way.
 *
 * @param refused is told of a rule that has no place beside another of the same rank
 */
function usableRules(
  site: Site<LoadedUpstream>,
  twice: ReadonlySet<string>,
  refused: (conflict: Conflict, binding: Binding, upstream: LoadedUpstream) => void,
): LoadedSite {
  const table = new RouteTable<Member<LoadedUpstream>>();
  const servers = serversOf(site);
  const fits = (binding: Binding, member: Member<LoadedUpstream>) => {
    try {
      table.add(binding, member);
      return true;
    } catch (error) {
      if (!(error instanceof RouteConflict)) throw error;
      const conflict = error as Conflict;
      if (conflict.before.payload.rank === member.rank) refused(conflict, binding, member.upstream);
      return false;
    }
  };
  const ordered = site.members.toSorted((a, b) => b.rank - a.rank || skips(a) - skips(b));
  const served = ordered.map((member) => {
    const { config, methods, bindings } = member.upstream;
    const isServed = (service: string) => !twice.has(service) && servers.get(service) === member.upstream;
    return {
      upstream: config.name,
      methods: methods.filter(({ service }) => isServed(service)),
      bindings: bindings.filter((binding) => isServed(binding.method.service) && fits(binding, member)),
    };
  });
  // One that serves nothing here, since others do, is none of the site's.
  const members = served.filter(
    ({ methods }, index) => methods.length > 0 || ordered[index]!.upstream.methods.length === 0,
  );
  return { pattern: site.pattern, served: members };
}

type Conflict = RouteConflict<Member<LoadedUpstream>>;

const skips = ({ upstream }: Member<LoadedUpstream>) => (upstream.config.unusable_rules === 'skip' ? 1 : 0);

const REMEDY =
  'one of them to go: an http.rules entry with its selector replaces the annotation, one with none: true takes it away; path_prefix moves all of an upstream';

function conflictText({ before, after }: Conflict): string {
  const one = ({ binding, payload }: typeof before) => `${binding.source} of upstream ${payload.upstream.config.name}`;
  return `two rules match the same requests: ${one(before)} and ${one(after)}`;
}

const atHosts = ({ pattern }: Site<LoadedUpstream>) => (pattern === undefined ? '' : `, at the host ${pattern}`);

/** The services that more than one upstream serves to the same hosts. */
function servedTwice(site: Site<LoadedUpstream>, tell: (fault: FileFault) => void): ReadonlySet<string> {
  const servers = new Map<string, Member<LoadedUpstream>>();
  const twice = new Set<string>();
  for (const member of site.members) {
    const { config, methods } = member.upstream;
    for (const service of new Set(methods.map((method) => method.service))) {
      const other = servers.get(service);
      if (other === undefined) {
        servers.set(service, member);
        continue;
      }
      if (other.rank !== member.rank) continue;
      twice.add(service);
      const { name } = other.upstream.config;
      // Two upstreams of one name are told elsewhere.
      if (name === config.name) continue;
      tell({
        path: ['upstreams', config.name, config.services ? 'services' : 'descriptor_set'],
        message: `${service} is served by the upstreams ${name} and ${config.name}${atHosts(site)}: expected one of them; \`services\` says what each serves, \`hosts\` to whom`,
      });
    }
  }
  return twice;
}
