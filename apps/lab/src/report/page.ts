import type { Comparison } from './baseline.js';
import { type Chart, clock, lineChart, short } from './chart.js';
import { type Html, html, table } from './html.js';
import type { Report } from './report.js';
import { megabytes, ms, percent } from './thresholds.js';
import { phasesOf } from '../load/phases.js';

/** report.html: one file that needs nothing from the network, readable on paper and by a screen reader. */
export function page(report: Report, comparisons: readonly Comparison[]): string {
  const { scenario } = report;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>Load report: ${scenario.name}, ${report.passed ? 'passed' : 'missed'}</title>
        <style>
          ${{ html: style }}
        </style>
      </head>
      <body>
        <main>
          <h1>
            ${scenario.name}:
            <span class="${report.passed ? 'passed' : 'missed'}"
              >${report.passed ? 'passed' : 'thresholds missed'}</span
            >
          </h1>
          <p>${scenario.title}. ${report.started_at} to ${report.ended_at} against ${report.configuration.server}.</p>
          ${notes(report)} ${summary(report)}
          <section aria-labelledby="thresholds">
            <h2 id="thresholds">Thresholds</h2>
            ${table(
              'What was asked and what the run came to',
              ['threshold', 'limit', 'actual', 'verdict'],
              report.thresholds.map(({ name, limit, actual, passed }) => [name, limit, actual, verdict(passed)]),
            )}
          </section>
          ${advice(report)} ${comparison(comparisons)}
          <section aria-labelledby="course">
            <h2 id="course">The course of the run</h2>
            ${charts(report).map(lineChart)}
          </section>
          <section aria-labelledby="calls">
            <h2 id="calls">Calls</h2>
            ${calls(report)}
          </section>
          <section aria-labelledby="refusals">
            <h2 id="refusals">Refusals and failures</h2>
            ${counted('Refused calls by dimension', 'dimension', report.refused_by)}
            ${counted('Failed calls by cause', 'cause', report.failures)}
            ${counted('Planned calls that were not sent', 'reason', report.unsent)}
          </section>
          <section aria-labelledby="generator">
            <h2 id="generator">Generator and services</h2>
            ${generator(report)} ${memory(report)}
          </section>
          <section aria-labelledby="configuration">
            <h2 id="configuration">Configuration</h2>
            ${configuration(report)}
          </section>
        </main>
        <script>
          addEventListener('beforeprint', () => {
            for (const details of document.querySelectorAll('details')) details.open = true;
          });
        </script>
      </body>
    </html> `.html;
}

function verdict(passed: boolean): Html {
  return passed ? html`<span class="passed">passed</span>` : html`<span class="missed">missed</span>`;
}

function notes(report: Report): Html[] {
  const { configuration } = report;
  const lines: string[] = [];
  if (report.interrupted) lines.push('The run was interrupted: the figures cover only its beginning.');
  if (configuration.time_scale !== 1) {
    lines.push(
      `Scaled ${configuration.time_scale} times: ${report.scenario.minutes} minutes of the scenario took ${clock(report.elapsed_ms / 1000)}. ` +
        `Phases, rates, idle expiry and the controller's interval are scaled; the server's limits and waits, and all latencies, are real. ` +
        `Each of ${configuration.client_addresses} addresses was asked for ${short(configuration.calls_per_address_per_real_minute)} calls a real minute at full rate.`,
    );
  }
  for (const reason of report.generator.clouded) lines.push(`The figures are in doubt: ${reason}.`);
  return lines.map((line) => html`<p class="note">${line}</p>`);
}

function summary({ calls, latency, sessions, first_token }: Report): Html {
  const cards: [string, string][] = [
    ['successful', percent(calls.success_share)],
    ['refused (429)', percent(calls.refused_share)],
    ['calls sent', calls.sent.toLocaleString('en')],
    ['latency p95 / p99', `${ms(latency.corrected.p95)} / ${ms(latency.corrected.p99)}`],
    ['first token p95', ms(first_token.p95)],
    ['sessions created', `${sessions.created} (${sessions.create_per_second.toFixed(2)}/s)`],
  ];
  return html`<dl class="cards">
    ${cards.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

function advice({ advice }: Report): Html {
  const items = advice.map(({ text, figures }) => html`<li>${text} <span class="figures">(${figures})</span></li>`);
  const body =
    items.length > 0
      ? html`<ul>
          ${items}
        </ul>`
      : html`<p>Nothing stands out.</p>`;
  return html`<section aria-labelledby="advice">
    <h2 id="advice">Advice</h2>
    ${body}
  </section>`;
}

function comparison(comparisons: readonly Comparison[]): Html {
  if (comparisons.length === 0) return html``;
  const rows = comparisons.map(({ name, before, now, worse, regressed }) => [
    name,
    before,
    now,
    `${worse > 0 ? 'worse' : 'better'} by ${Math.abs(worse * 100).toFixed(1)} %`,
    regressed ? html`<span class="missed">regressed</span>` : html`<span class="passed">within tolerance</span>`,
  ]);
  return html`<section aria-labelledby="baseline">
    <h2 id="baseline">Beside the baseline</h2>
    ${table('This run beside the earlier one', ['figure', 'before', 'now', 'change', 'verdict'], rows)}
  </section>`;
}

function charts(report: Report): Chart[] {
  const { moments, scenario, configuration, memory } = report;
  const ends = moments.map(({ atMs }, index) => (moments[index + 1]?.atMs ?? report.elapsed_ms) - atMs);
  const seconds = moments.map(({ atMs }, index) => (atMs + ends[index]!) / 1000);
  const phases = phasesOf((scenario.minutes * 60_000) / configuration.time_scale);
  const marks = [
    { name: 'grow', seconds: phases.growMs / 1000 },
    { name: 'hold', seconds: phases.holdMs / 1000 },
    { name: 'clean up', seconds: phases.cleanUpMs / 1000 },
  ].filter((mark) => mark.seconds < (seconds.at(-1) ?? 0));
  const perSecond = (pick: (moment: Report['moments'][number]) => number) =>
    moments.map((moment, index) => (pick(moment) * 1000) / Math.max(1, ends[index]!));
  const shared = { seconds, marks };
  const all: Chart[] = [
    {
      ...shared,
      id: 'rate',
      title: 'Rate of calls',
      unit: 'calls per second',
      summary: `${report.calls.sent} calls were sent, ${report.calls.ok} succeeded.`,
      series: [
        { name: 'planned', values: perSecond(({ planned }) => planned) },
        { name: 'sent', values: perSecond(({ sent }) => sent) },
        { name: 'succeeded', values: perSecond(({ ok }) => ok) },
      ],
    },
    {
      ...shared,
      id: 'latency',
      title: 'Latency from the planned moment',
      unit: 'milliseconds',
      summary: `Over the whole run the median is ${ms(report.latency.corrected.p50)}, the 99th percentile ${ms(report.latency.corrected.p99)}.`,
      series: [
        { name: 'median', values: moments.map(({ p50 }) => p50) },
        { name: '95th percentile', values: moments.map(({ p95 }) => p95) },
        { name: '99th percentile', values: moments.map(({ p99 }) => p99) },
      ],
    },
    {
      ...shared,
      id: 'refusals',
      title: 'Refusals by dimension',
      unit: 'calls per second',
      summary: `${report.calls.refused} calls were refused.`,
      series: [...(Object.keys(report.refused_by).length > 0 ? Object.keys(report.refused_by) : ['none'])].map(
        (name) => ({
          name,
          values: perSecond(({ refusedBy }) => refusedBy[name] ?? 0),
        }),
      ),
    },
    {
      ...shared,
      id: 'sessions',
      title: 'Sessions and calls under way',
      unit: 'count',
      summary: `${report.sessions.created} sessions were created.`,
      series: [
        { name: 'live sessions', values: moments.map(({ sessions }) => sessions) },
        { name: 'calls under way', values: moments.map(({ inFlight }) => inFlight) },
        { name: 'addresses that rest', values: moments.map(({ addressesResting }) => addressesResting) },
      ],
    },
    {
      ...shared,
      id: 'multiplier',
      title: 'Multiplier of the rate controller',
      unit: 'times the base rate',
      summary: `It went from 1 to ${report.multiplier.last.toFixed(2)}, between ${report.multiplier.least.toFixed(2)} and ${report.multiplier.most.toFixed(2)}.`,
      series: [{ name: 'multiplier', values: moments.map(({ multiplier }) => multiplier) }],
    },
  ];
  const watched = memory.filter(({ samples }) => samples.length > 0);
  const longest = [...watched].sort((a, b) => b.samples.length - a.samples.length)[0];
  if (!longest) return all;
  const readAt = longest.samples.map(({ atMs }) => atMs);
  return [
    ...all,
    {
      id: 'memory',
      title: 'Resident memory of the services',
      unit: 'MB',
      summary: watched.map(({ service, leak }) => `${service}: ${leak.verdict}.`).join(' '),
      seconds: readAt.map((atMs) => atMs / 1000),
      marks,
      series: watched.map(({ service, samples }) => {
        const byTime = new Map(samples.map(({ atMs, bytes }) => [atMs, bytes]));
        let last = samples[0]!.bytes;
        return { name: service, values: readAt.map((atMs) => (last = byTime.get(atMs) ?? last) / 1_048_576) };
      }),
    },
  ];
}

function calls({ kinds, latency, calls }: Report): Html {
  const headings = [
    'kind',
    'sent',
    'succeeded',
    'refused',
    'failed',
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
    ...[
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

function counted(caption: string, heading: string, counts: Readonly<Record<string, number>>): Html {
  const rows = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => [name, count]);
  return rows.length > 0 ? table(caption, [heading, 'calls'], rows) : html`<p>${caption}: none.</p>`;
}

function generator({ generator, calls }: Report): Html {
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

function memory({ memory }: Report): Html {
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
          leak.verdict === 'unknown' ? 'too few readings, or over less than 20 minutes' : leak.verdict,
        ],
  );
  return table(
    'Resident memory of the services after the warm-up',
    ['service', 'readings', 'mean', 'slope', '95 % interval', 'verdict'],
    rows,
  );
}

function configuration({ configuration, versions, scenario, sessions }: Report): Html {
  const rows: [string, string | number][] = [
    [
      'sessions',
      `${scenario.sessions} (created ${sessions.created}, deleted ${sessions.deleted}, expired ${sessions.expired}, lost ${sessions.lost})`,
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

const style = `
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; border-bottom: 1px solid #b8b8b8; }
.passed { color: #14622f; font-weight: 600; }
.missed { color: #a01812; font-weight: 600; }
.note { border-left: 4px solid #8a5a00; padding: .3rem .8rem; background: #fff8e8; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.cards div { border: 1px solid #b8b8b8; border-radius: .4rem; padding: .5rem .8rem; }
.cards dt { font-size: .85rem; color: #4a4a4a; }
.cards dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { border: 1px solid #c8c8c8; padding: .2rem .55rem; text-align: right; white-space: nowrap; }
td.word { text-align: left; }
th { background: #f2f2f2; font-weight: 500; text-align: left; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figcaption { font-weight: 600; }
figure > svg { width: 100%; height: auto; font-size: 11px; }
svg text { fill: #333; }
.grid { stroke: #dcdcdc; }
.mark { stroke: #6b6b6b; stroke-dasharray: 3 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; margin: .2rem 0; font-size: .85rem; }
.figures { color: #4a4a4a; }
summary { cursor: pointer; font-size: .85rem; }
@media print { main { max-width: none; padding: 0; } .scroll { overflow: visible; } table { font-size: .7rem; } section { break-inside: auto; } h2 { break-after: avoid; } }
`;
