import { faultAt, type FileFault } from '@sluice/config';
import { coveredBy, hostFault, meets } from '../../preflight/hosts.js';
import type { Subject } from './check.js';

type Path = (string | number)[];

/** Hosts that another entry covers, and hosts of upstreams and policies that nobody is served. */
export function* hosts({ config, routes, complete }: Subject): Iterable<FileFault> {
  const { hosts: served } = config;
  if (served) yield* covered(served, ['hosts']);
  yield* ofTenants(config.tenants.hosts, served);
  for (const { name, hosts: own } of config.upstreams) {
    if (!own) continue;
    const at: Path = ['upstreams', name, 'hosts'];
    yield* repeated(own, at);
    yield* unserved(own, at, served);
  }
  for (const [index, { match }] of config.limits.policies.entries()) {
    if (!match.hosts) continue;
    const at: Path = ['limits', 'policies', index, 'match', 'hosts'];
    yield* covered(match.hosts, at);
    yield* unserved(match.hosts, at, served);
    if (!complete) continue;
    for (const [place, host] of match.hosts.entries()) {
      if (routes.some((route) => route.hosts === undefined || route.hosts.some((own) => meets(own, host)))) continue;
      const among = routes.flatMap((route) => route.hosts ?? []);
      yield faultAt([...at, place], { value: host, expected: 'a host that some upstream is for', among });
    }
  }
}

/** Of tenants a host names the key. */
function* ofTenants(
  named: Readonly<Record<string, string>>,
  served: readonly string[] | undefined,
): Iterable<FileFault> {
  for (const host of Object.keys(named)) {
    const unservedHere = served && !served.some((one) => meets(one, host));
    const fault =
      hostFault(host) ?? (unservedHere ? { expected: 'a host that `hosts` has', among: served } : undefined);
    if (fault) yield { ...faultAt(['tenants', 'hosts', host], { value: host, ...fault }), atKey: true };
  }
}

/** For an upstream a host and all below another are two things: the former goes first. */
function* repeated(patterns: readonly string[], at: Path): Iterable<FileFault> {
  for (const [index, host] of patterns.entries()) {
    if (patterns.indexOf(host) !== index) yield faultAt([...at, index], { value: host, expected: 'each host once' });
  }
}

function* covered(patterns: readonly string[], at: Path): Iterable<FileFault> {
  yield* repeated(patterns, at);
  for (const [index, host] of patterns.entries()) {
    const by = patterns.find((other) => other !== host && coveredBy(host, other));
    if (by) yield faultAt([...at, index], { value: host, expected: `a host that ${by} is not for already` });
  }
}

function* unserved(patterns: readonly string[], at: Path, served: readonly string[] | undefined): Iterable<FileFault> {
  if (!served) return;
  for (const [index, host] of patterns.entries()) {
    if (served.some((one) => meets(one, host))) continue;
    yield faultAt([...at, index], { value: host, expected: 'a host that `hosts` has', among: served });
  }
}
