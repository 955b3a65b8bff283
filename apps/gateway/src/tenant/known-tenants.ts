/** What limits and queues call all tenants together that nobody has vouched for; no tenant can have this name. */
export const UNKNOWN_TENANT = '?';

/** Tenants that are remembered at most; the one that was not heard of for longest is forgotten first. */
const REMEMBERED_MAX = 10_000;

/**
 * Tenants that exist, as far as there is reason to believe it: the configuration names them, a token that was checked does, or
 * the service behind the gateway has taken a call for them. Whoever makes up tenants makes up one share of limits and queues,
 * and not one with each name.
 */
export class KnownTenants {
  private readonly remembered = new Set<string>();
  private configured: ReadonlySet<string> = new Set();

  /** Names of the configuration in force. */
  configure(names: Iterable<string>): void {
    this.configured = new Set(names);
  }

  learn(name: string): void {
    if (name === '' || this.configured.has(name)) return;
    const { remembered } = this;
    remembered.delete(name);
    remembered.add(name);
    if (remembered.size <= REMEMBERED_MAX) return;
    const [oldest] = remembered;
    remembered.delete(oldest!);
  }

  /** The name, or {@link UNKNOWN_TENANT}. */
  shareOf(name: string): string {
    return this.configured.has(name) || this.remembered.has(name) ? name : UNKNOWN_TENANT;
  }
}
