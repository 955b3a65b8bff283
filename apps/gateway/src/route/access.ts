import type { MethodInfo } from '@sluice/transcode';
import type { AccessRuleConfig, UpstreamConfig } from '../config/schema.js';

/** The method option by which a service says itself who may call. */
export const ACCESS_OPTION = 'sluice.access.v1.access';

/** Who may call a method. */
export interface Access {
  readonly public: boolean;
  /** One of these is needed; empty: any caller that is signed in. */
  readonly roles: readonly string[];
  readonly noGuests: boolean;
  /** A token whose session has ended still counts, until it expires. */
  readonly endedSessions: boolean;
  /** Not for callers whose e-mail address is known not to be verified. */
  readonly verifiedEmail: boolean;
  /** Not for callers that come with an API key. */
  readonly noKeys: boolean;
}

export const everyone: Access = {
  public: true,
  roles: [],
  noGuests: false,
  endedSessions: false,
  verifiedEmail: false,
  noKeys: false,
};

/**
 * Whether a selector names a method: `package.Service.Method`, or a prefix of it with `*` as its last part.
 * The result is how many parts it names, so that the more specific of two can be told; undefined when it does not match.
 */
export function selectorRank(selector: string, method: MethodInfo): number | undefined {
  const full = `${method.service}.${method.name}`;
  if (selector === full) return Number.POSITIVE_INFINITY;
  if (selector === '*') return 0;
  if (!selector.endsWith('.*')) return undefined;
  const prefix = selector.slice(0, -1);
  return full.startsWith(prefix) ? prefix.split('.').length : undefined;
}

/** The value of the most specific selector that names the method; the later of two alike. */
export function bySelector<T>(rules: Iterable<readonly [string, T]>, method: MethodInfo): T | undefined {
  let best: { rank: number; value: T } | undefined;
  for (const [selector, value] of rules) {
    const rank = selectorRank(selector, method);
    if (rank !== undefined && rank >= (best?.rank ?? -1)) best = { rank, value };
  }
  return best?.value;
}

/**
 * The rule of a method: the configuration's, else the method's own option, else any caller that is signed in.
 *
 * @param option the method option `sluice.access.v1.access` as JSON with proto names, when the method has it
 * @param authenticates false when the gateway does not know callers at all, and everything is public
 */
export function accessOf(
  method: MethodInfo,
  configured: readonly AccessRuleConfig[],
  option: unknown,
  authenticates: boolean,
): Access {
  if (!authenticates) return everyone;
  const rule =
    bySelector(
      configured.map((entry) => [entry.selector, entry] as const),
      method,
    ) ?? (option as Partial<AccessRuleConfig> | undefined);
  return {
    public: rule?.public ?? false,
    roles: rule?.roles ?? [],
    noGuests: rule?.no_guests ?? false,
    endedSessions: rule?.ended_sessions ?? false,
    verifiedEmail: rule?.verified_email ?? false,
    noKeys: rule?.no_keys ?? false,
  };
}

/** Whether the method behaves as RFC 6749 says. */
export function isOAuth(config: UpstreamConfig, method: MethodInfo): boolean {
  return config.oauth.some((selector) => selectorRank(selector, method) !== undefined);
}
