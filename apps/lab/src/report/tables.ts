import { type Html, html, table } from './html.js';
import type { Report } from './report.js';
import { megabytes, ms, percent } from './thresholds.js';

/** Calls and their latency, by kind. */
export function callsTable({ kinds, latency, calls }: Report): Html {
  const headings = [
    'kind',
    'sent',
    'succeeded',
    'refused',
    'failed',
    'success',
    'mean',
    'median',
    'p90',
    'p95',
    'p99',
    'p99.9',
    'longest',
    'p95 uncorrected',
    'p99 uncorrected',
  ];
  const row = (name: string, counts: typeof calls | Report['kinds'][number], of: Report['latency']) => [
    name,
    counts.sent,
    counts.ok,
    counts.refused,
    counts.failed,
    share(counts),
    ...[
      of.corrected.mean,
      of.corrected.p50,
      of.corrected.p90,
      of.corrected.p95,
      of.corrected.p99,
      of.corrected.p99_9,
      of.corrected.max,
    ].map(ms),
    ms(of.uncorrected.p95),
    ms(of.uncorrected.p99),
  ];
  return html`<p>
      Latency is of calls that were not refused, to the end of the answer. Corrected figures count from the moment for
      which a call was planned, so that a stall is seen by every call that it delayed; uncorrected ones from the moment
      at which it was sent.
    </p>
    ${table('Calls and latency by kind', headings, [...kinds.map((kind) => row(kind.kind, kind, kind)), row('all', calls, latency)])}`;
}

function share({ ok, refused, failed }: { ok: number; refused: number; failed: number }): string {
  const answered = ok + refused + failed;
  return answered === 0 ? '–' : percent(ok / answered);
}

/**
 * Names with how often each was counted, the most frequent first.
 *
 * @param details what to say of each name beside its count, where there is anything to say
 */
export function countedTable(
  caption: string,
  heading: string,
  counts: Readonly<Record<string, number>>,
  details?: Readonly<Record<string, string>>,
): Html {
  const rows = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => (details ? [name, count, details[name] ?? ''] : [name, count]));
  const headings = details ? [heading, 'calls', 'the server said at first'] : [heading, 'calls'];
  return rows.length > 0 ? table(caption, headings, rows) : html`<p>${caption}: none.</p>`;
}

export function generatorTable({ generator, calls }: Report): Html {
  return table(
    'The generator itself',
    ['figure', 'value'],
    [
      ['CPU time', `${generator.cpu_seconds.toFixed(1)} s`],
      [
        'CPU per call',
        generator.cpu_seconds > 0 && calls.sent > 0
          ? `${((generator.cpu_seconds * 1e6) / calls.sent).toFixed(0)} µs`
          : '–',
      ],
      ['busiest slice', `${Math.round(generator.cpu_most * 100)} % of a core`],
      ['event loop lag, worst 99th percentile of a slice', ms(generator.lag_p99_most_ms)],
      [
        'calls that left more than 50 ms late',
        `${generator.late} of ${calls.sent}, at most ${ms(generator.late_most_ms)} late`,
      ],
      ['resident memory, most', megabytes(generator.rss_most_bytes)],
      ['connections opened', generator.connections],
    ],
  );
}

const verdicts = {
  steady: 'steady',
  grows: 'grows',
  'too short': 'not judged: under an hour, in which caches fill',
  unknown: 'too few readings',
} as const;

export function memoryTable({ memory }: Report): Html {
  if (memory.length === 0) return html`<p>No service was watched.</p>`;
  const rows = memory.map(({ service, samples, leak }) =>
    samples.length === 0
      ? [service, 0, '–', '–', '–', 'did not answer']
      : [
          service,
          samples.length,
          megabytes(leak.meanBytes || samples.at(-1)!.bytes),
          leak.verdict === 'unknown' ? '–' : `${megabytes(leak.bytesPerHour)} an hour`,
          leak.verdict === 'unknown'
            ? '–'
            : `${megabytes(leak.bytesPerHourLow)} to ${megabytes(leak.bytesPerHourHigh)}`,
          verdicts[leak.verdict],
        ],
  );
  return table(
    'Resident memory of the services after the warm-up',
    ['service', 'readings', 'mean', 'slope', '95 % interval', 'verdict'],
    rows,
  );
}

export function configurationTable({ configuration, versions, scenario, sessions }: Report): Html {
  const rows: [string, string | number][] = [
    [
      'sessions',
      `${scenario.sessions} (created ${sessions.created}, at most ${sessions.most} at once, deleted ${sessions.deleted}, expired ${sessions.expired}, lost ${sessions.lost})`,
    ],
    ['minutes', scenario.minutes],
    ['addresses', `${scenario.addresses}, in use ${configuration.client_addresses} (${configuration.address_mode})`],
    ['calls per minute and address', scenario.messages_per_minute_per_address],
    ['multiplier', `${scenario.multiplier.min} to ${scenario.multiplier.max}`],
    [
      'mix',
      Object.entries(scenario.mix)
        .map(([name, weight]) => `${name} ${weight}`)
        .join(', '),
    ],
    ['tenants', scenario.tenants.map(({ name, weight }) => `${name} (${weight})`).join(', ')],
    ['users', scenario.users],
    ['sessions per user', scenario.sessions_per_user],
    ['time scale', configuration.time_scale],
    ['seed', configuration.seed],
    ['call timeout', ms(configuration.call_timeout_ms)],
    ...Object.entries(versions).map(([name, version]): [string, string] => [`version of ${name}`, version]),
  ];
  return table('Configuration and versions', ['setting', 'value'], rows);
}
