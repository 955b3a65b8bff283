import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** The generator itself over one slice. */
export interface GeneratorSample {
  /** Share of one core, 0 to 1 (a little above, with the runtime's own threads). */
  readonly cpu: number;
  /** How late the event loop was, at its 99th percentile, in milliseconds. */
  readonly lagP99Ms: number;
  readonly rssBytes: number;
}

/** The loop is sampled this often; what a sample takes beyond it is the lag. */
const RESOLUTION_MS = 10;

/** Watches the generator's own CPU and event loop: when they are busy, the measured latency is partly its own. */
export class GeneratorMonitor {
  private readonly delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private cpu = process.cpuUsage();
  private at = performance.now();
  cpuSeconds = 0;
  cpuMost = 0;
  lagP99MostMs = 0;
  rssMostBytes = 0;

  constructor() {
    this.delay.enable();
  }

  sample(): GeneratorSample {
    const now = performance.now();
    const used = process.cpuUsage(this.cpu);
    const seconds = (used.user + used.system) / 1e6;
    const sample = {
      cpu: seconds / Math.max(0.001, (now - this.at) / 1000),
      lagP99Ms: this.delay.count === 0 ? 0 : Math.max(0, this.delay.percentile(99) / 1e6 - RESOLUTION_MS),
      rssBytes: process.memoryUsage.rss(),
    };
    this.cpu = process.cpuUsage();
    this.at = now;
    this.delay.reset();
    this.cpuSeconds += seconds;
    this.cpuMost = Math.max(this.cpuMost, sample.cpu);
    this.lagP99MostMs = Math.max(this.lagP99MostMs, sample.lagP99Ms);
    this.rssMostBytes = Math.max(this.rssMostBytes, sample.rssBytes);
    return sample;
  }

  stop(): void {
    this.delay.disable();
  }
}

/** Where a service of the system under test tells its memory. */
export interface WatchedService {
  readonly name: string;
  /** Prometheus text, for example `http://127.0.0.1:9084/metrics`. */
  readonly url: string;
}

/** How long a service may take to tell. */
const READING_MS = 2_000;

/** `process_resident_memory_bytes` of a service; undefined when it does not answer with one. */
export async function residentBytes(service: WatchedService): Promise<number | undefined> {
  try {
    const response = await fetch(service.url, { signal: AbortSignal.timeout(READING_MS) });
    const text = await response.text();
    if (!response.ok) return undefined;
    const value = /^process_resident_memory_bytes(?:\{[^}]*\})? ([0-9.e+]+)/m.exec(text)?.[1];
    return value === undefined ? undefined : Number(value);
  } catch {
    return undefined;
  }
}
