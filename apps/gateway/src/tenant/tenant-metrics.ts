import { isDeepStrictEqual } from 'node:util';
import { Counter, type Registry } from '@sluice/telemetry';
import type { GatewayConfig } from '../config/schema.js';
import { UNKNOWN_TENANT } from './known-tenants.js';

/** The tier of tenants that the configuration gives none. */
export const USUAL_TIER = 'standard';
/** Each tenant of this tier has series of its own. */
const VIP = 'vip';
/** What the series of all tenants are called that have none of their own. */
const OTHER = 'other';
/** Upper bounds of the buckets, in seconds. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const outcomes = ['served', 'refused', 'failed', 'left'] as const;
type Outcome = (typeof outcomes)[number];

/** Tenants whose calls are compared, at most. */
const TRACKED_MAX = 10_000;
/** How often it is found out who is busiest; what was counted before counts half then. */
const RANK_MS = 60_000;

/** What was counted of one tenant, or of all others of a tier. */
interface Series {
  readonly tier: string;
  readonly tenant: string;
  readonly outcomes: Record<Outcome, number>;
  /** Calls by bucket of {@link SECONDS}, not yet summed up; the last is for longer ones. */
  readonly buckets: number[];
  seconds: number;
}

interface Tracked {
  series: Series;
  /** Calls, of which those of each period before count half as much. */
  calls: number;
}

/**
 * Availability and latency by tenant. Tenants come and go, and there may be many: series of their own have those of tier `vip` and
 * so many of the busiest; a call of any other is counted with `other`, of its tier. A call is counted once, when it ends, so that no
 * series ever moves but forward; one that has lost its place goes away.
 */
export class TenantMetrics {
  private tiers: ReadonlyMap<string, string> = new Map();
  private busiest = 0;
  private configured: GatewayConfig['tenants'] | undefined;
  private readonly tracked = new Map<string, Tracked>();
  private readonly others = new Map<string, Series>();
  private busy = 0;
  private rankedAt = 0;

  constructor(registry: Registry) {
    const all = () => this.series();
    const labelNames = ['tier', 'tenant'];
    new Counter({
      name: 'gateway_tenant_requests_total',
      help: 'Calls by tier and tenant (of tier vip and the busiest; else `other`): served, refused (429), failed (5xx but 501), or the client left',
      labelNames: [...labelNames, 'outcome'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { tier, tenant, outcomes: counts } of all())
          for (const outcome of outcomes) this.inc({ tier, tenant, outcome }, counts[outcome]);
      },
    });
    const name = 'gateway_tenant_request_seconds';
    const duration = {
      name,
      help: 'Time from the header fields of a call that is no stream to the end of its answer, by tier and tenant as above; without what was refused or left',
      type: 'histogram',
      aggregator: 'sum',
      reset: () => undefined,
      get: async () => ({ ...duration, values: all().flatMap((series) => histogramValues(name, series)) }),
    };
    registry.registerMetric(duration as unknown as Parameters<Registry['registerMetric']>[0]);
  }

  /** Another configuration may give tenants other tiers. */
  private configure(config: GatewayConfig['tenants']): void {
    const { configured } = this;
    this.configured = config;
    if (isDeepStrictEqual(config, configured)) return;
    this.busiest = config.busiest;
    this.tiers = new Map(Object.entries(config.tiers).flatMap(([tier, names]) => names.map((name) => [name, tier])));
    this.tracked.clear();
    this.busy = 0;
    for (const [tenant, tier] of this.tiers) {
      if (tier === VIP) this.tracked.set(tenant, { series: newSeries(tier, tenant), calls: 0 });
    }
  }

  /**
   * @param config in force now, whichever the call came by
   * @param status of HTTP; 499 when the client left
   * @param ms undefined: the call was a stream, which takes as long as it likes
   * @param now as `performance.now()` counts
   */
  count(config: GatewayConfig['tenants'], tenant: string, status: number, ms: number | undefined, now: number): void {
    if (config !== this.configured) this.configure(config);
    if (now - this.rankedAt >= RANK_MS) this.rank(now);
    const tracked = this.tracked.get(tenant) ?? this.track(tenant);
    tracked.calls += 1;
    const { series } = tracked;
    const outcome = outcomeOf(status);
    series.outcomes[outcome] += 1;
    if (ms === undefined || outcome === 'refused' || outcome === 'left') return;
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < SECONDS.length && seconds > SECONDS[bucket]!) bucket += 1;
    series.buckets[bucket]! += 1;
    series.seconds += seconds;
  }

  private track(tenant: string): Tracked {
    const tier = this.tiers.get(tenant) ?? USUAL_TIER;
    const full = this.tracked.size >= TRACKED_MAX;
    const named = !full && this.busy < this.busiest && canBeNamed(tenant);
    if (named) this.busy += 1;
    const tracked = { series: named ? newSeries(tier, tenant) : this.otherOf(tier), calls: 0 };
    if (!full) this.tracked.set(tenant, tracked);
    return tracked;
  }

  private otherOf(tier: string): Series {
    let series = this.others.get(tier);
    if (series === undefined) this.others.set(tier, (series = newSeries(tier, OTHER)));
    return series;
  }

  /** Gives series of their own to the busiest, and takes them from those who are so no longer. */
  private rank(now: number): void {
    this.rankedAt = now;
    const usual = [...this.tracked].filter(([, { series }]) => series.tier !== VIP);
    usual.sort(([, a], [, b]) => b.calls - a.calls);
    this.busy = 0;
    for (const [tenant, each] of usual) {
      each.calls /= 2;
      const named = this.busy < this.busiest && each.calls > 0 && canBeNamed(tenant);
      if (named) this.busy += 1;
      const { tier } = each.series;
      if (!named) each.series = this.otherOf(tier);
      else if (each.series.tenant === OTHER) each.series = newSeries(tier, tenant);
      // Who has not called for long makes room.
      if (!named && each.calls < 0.5) this.tracked.delete(tenant);
    }
  }

  private series(): Series[] {
    const own = [...this.tracked.values()].map(({ series }) => series).filter(({ tenant }) => tenant !== OTHER);
    return [...own, ...this.others.values()];
  }
}

/** Tenants that nobody has vouched for are none, and one of this name cannot be told from all others. */
const canBeNamed = (tenant: string) => tenant !== UNKNOWN_TENANT && tenant !== OTHER;

function outcomeOf(status: number): Outcome {
  if (status < 400) return 'served';
  if (status === 429) return 'refused';
  if (status === 499 || status === 0) return 'left';
  // What is not implemented does not become available by waiting.
  return status >= 500 && status !== 501 ? 'failed' : 'served';
}

function newSeries(tier: string, tenant: string): Series {
  const buckets = Array.from({ length: SECONDS.length + 1 }, () => 0);
  return { tier, tenant, outcomes: { served: 0, refused: 0, failed: 0, left: 0 }, buckets, seconds: 0 };
}

function histogramValues(name: string, { tier, tenant, buckets, seconds }: Series) {
  let sum = 0;
  const values = buckets.map((count, index) => {
    sum += count;
    return { labels: { tier, tenant, le: SECONDS[index] ?? '+Inf' }, value: sum, metricName: `${name}_bucket` };
  });
  return [
    ...values,
    { labels: { tier, tenant }, value: seconds, metricName: `${name}_sum` },
    { labels: { tier, tenant }, value: sum, metricName: `${name}_count` },
  ];
}
