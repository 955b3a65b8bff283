import { build, type Histogram } from 'hdr-histogram-js';

/** What a latency distribution comes to, in milliseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly max: number;
}

const US_PER_MS = 1000;
/** Longer latencies count as this long: ten minutes. */
const LONGEST_US = 600_000_000;

/** A latency distribution in bounded memory: three significant digits from a microsecond to ten minutes. */
export class LatencyHistogram {
  private readonly histogram: Histogram;

  constructor(digits: 2 | 3 = 3) {
    this.histogram = build({
      bitBucketSize: 32,
      autoResize: false,
      lowestDiscernibleValue: 1,
      highestTrackableValue: LONGEST_US,
      numberOfSignificantValueDigits: digits,
    });
  }

  record(latencyMs: number): void {
    const us = Math.round(latencyMs * US_PER_MS);
    this.histogram.recordValue(us < 1 ? 1 : us > LONGEST_US ? LONGEST_US : us);
  }

  add(other: LatencyHistogram): void {
    this.histogram.add(other.histogram);
  }

  reset(): void {
    this.histogram.reset();
  }

  /** In milliseconds; 0 when nothing was recorded. */
  percentile(percent: number): number {
    return this.histogram.totalCount === 0 ? 0 : this.histogram.getValueAtPercentile(percent) / US_PER_MS;
  }

  summary(): LatencySummary {
    const count = this.histogram.totalCount;
    return {
      count,
      mean: count === 0 ? 0 : Math.round(this.histogram.mean) / US_PER_MS,
      p50: this.percentile(50),
      p90: this.percentile(90),
      p95: this.percentile(95),
      p99: this.percentile(99),
      p99_9: this.percentile(99.9),
      max: count === 0 ? 0 : this.histogram.maxValue / US_PER_MS,
    };
  }
}
