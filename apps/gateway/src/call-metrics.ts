import { Counter, type Registry } from '@sluice/telemetry';

/** Upper bounds of the buckets, in seconds. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What was counted of one method. */
interface MethodCounts {
  /** Calls by form and status. */
  readonly calls: Map<string, { readonly form: string; readonly status: number; count: number }>;
  /** Calls by bucket of {@link SECONDS}, not yet summed up; the last is for longer ones. */
  readonly buckets: number[];
  seconds: number;
}

/**
 * Calls and their durations. Counting is a few additions here: the metrics library would sort and join the labels of every
 * call into a key, which cost more than the limits do; it is asked only when somebody reads.
 */
export class CallMetrics {
  private readonly methods = new Map<string, MethodCounts>();

  constructor(registry: Registry) {
    const { methods } = this;
    new Counter({
      name: 'gateway_requests_total',
      help: 'Calls by gRPC method (`none` when no route was found), form and HTTP status',
      labelNames: ['rpc', 'form', 'status'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [rpc, { calls }] of methods) {
          for (const { form, status, count } of calls.values()) this.inc({ rpc, form, status }, count);
        }
      },
    });
    const duration = {
      name: 'gateway_request_seconds',
      help: 'Time from the header fields of a call to the end of its answer',
      type: 'histogram',
      aggregator: 'sum',
      reset: () => methods.clear(),
      get: async () => ({ ...duration, values: [...methods].flatMap(([rpc, counts]) => histogramValues(rpc, counts)) }),
    };
    registry.registerMetric(duration as unknown as Parameters<Registry['registerMetric']>[0]);
  }

  count(rpc: string, form: string, status: number, ms: number): void {
    let counts = this.methods.get(rpc);
    if (!counts) {
      counts = { calls: new Map(), buckets: Array.from({ length: SECONDS.length + 1 }, () => 0), seconds: 0 };
      this.methods.set(rpc, counts);
    }
    const key = form + status;
    const series = counts.calls.get(key);
    if (series) series.count += 1;
    else counts.calls.set(key, { form, status, count: 1 });
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < SECONDS.length && seconds > SECONDS[bucket]!) bucket += 1;
    counts.buckets[bucket]! += 1;
    counts.seconds += seconds;
  }
}

function histogramValues(rpc: string, { buckets, seconds }: MethodCounts) {
  const name = 'gateway_request_seconds';
  let sum = 0;
  const values = buckets.map((count, index) => {
    sum += count;
    return { labels: { rpc, le: SECONDS[index] ?? '+Inf' }, value: sum, metricName: `${name}_bucket` };
  });
  return [
    ...values,
    { labels: { rpc }, value: seconds, metricName: `${name}_sum` },
    { labels: { rpc }, value: sum, metricName: `${name}_count` },
  ];
}
