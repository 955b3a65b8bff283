import { coveredBy } from '../preflight/hosts.js';

/** An upstream that a host gets. */
export interface Member<U> {
  readonly upstream: U;
  /** How specific the pattern is by which the upstream is for the host; of two that serve the same, the higher one does. */
  readonly rank: number;
}

/** The hosts that one pattern is for, and what they get. */
export interface Site<U> {
  /** Undefined: every host that no pattern is for. */
  readonly pattern: string | undefined;
  /** The most specific first. */
  readonly members: readonly Member<U>[];
}

/** A host itself goes before all that are below another. */
const EXACT = 1000;

/**
 * The sites of a configuration: one for each pattern that upstreams name, and one for all other hosts. An upstream is for the
 * hosts that it names, and for every host when it names none.
 */
export function sitesOf<U extends { readonly config: { readonly hosts?: readonly string[] | undefined } }>(
  upstreams: readonly U[],
): Site<U>[] {
  const patterns = new Set(upstreams.flatMap(({ config }) => config.hosts ?? []));
  return [undefined, ...patterns].map((pattern) => ({
    pattern,
    members: upstreams
      .flatMap((upstream) => {
        const rank = rankOf(upstream.config.hosts, pattern);
        return rank === undefined ? [] : [{ upstream, rank }];
      })
      .toSorted((a, b) => b.rank - a.rank),
  }));
}

function rankOf(hosts: readonly string[] | undefined, pattern: string | undefined): number | undefined {
  if (hosts === undefined) return 0;
  if (pattern === undefined) return undefined;
  const ranks = hosts
    .filter((host) => coveredBy(pattern, host))
    .map((host) => host.length + (host.startsWith('*.') ? 0 : EXACT));
  return ranks.length === 0 ? undefined : Math.max(...ranks);
}

/** Which member serves each service of a site; of two alike the first does, which the checks have let nobody have. */
export function serversOf<U extends { readonly methods: readonly { readonly service: string }[] }>({
  members,
}: Site<U>): ReadonlyMap<string, U> {
  const servers = new Map<string, U>();
  for (const { upstream } of members) {
    for (const { service } of upstream.methods) if (!servers.has(service)) servers.set(service, upstream);
  }
  return servers;
}
