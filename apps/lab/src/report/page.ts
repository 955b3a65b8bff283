import type { Comparison } from './baseline.js';
import { clock, lineChart, short } from './chart.js';
import { chartsOf } from './course.js';
import { type Html, html, table } from './html.js';
import type { Report } from './report.js';
import { callsTable, configurationTable, countedTable, generatorTable, memoryTable } from './tables.js';
import { ms, percent } from './thresholds.js';

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
            ${chartsOf(report).map(lineChart)}
          </section>
          <section aria-labelledby="calls">
            <h2 id="calls">Calls</h2>
            ${callsTable(report)}
          </section>
          <section aria-labelledby="refusals">
            <h2 id="refusals">Refusals and failures</h2>
            ${countedTable('Refused calls by dimension', 'dimension', report.refused_by)}
            ${countedTable('Failed calls by cause', 'cause', report.failures, report.failure_details)}
            ${countedTable('Planned calls that were not sent', 'reason', report.unsent)}
          </section>
          <section aria-labelledby="generator">
            <h2 id="generator">Generator and services</h2>
            ${generatorTable(report)} ${memoryTable(report)}
          </section>
          <section aria-labelledby="configuration">
            <h2 id="configuration">Configuration</h2>
            ${configurationTable(report)}
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
  if (report.scenario.leak_check && report.memory.every(({ leak }) => leak.verdict === 'too short')) {
    lines.push('Memory is not judged: in runs of less than an hour, caches that fill look like leaks.');
  }
  for (const reason of report.generator.clouded) lines.push(`The figures are in doubt: ${reason}.`);
  return lines.map((line) => html`<p class="note">${line}</p>`);
}

function summary({ calls, latency, sessions, first_token }: Report): Html {
  const cards: [string, string][] = [
    ['successful', percent(calls.success_share)],
    ['refused (429)', percent(calls.refused_share)],
    ['calls sent', `${calls.sent.toLocaleString('en')} (${calls.per_second.toFixed(1)}/s)`],
    ['latency mean', ms(latency.corrected.mean)],
    ['latency p95 / p99', `${ms(latency.corrected.p95)} / ${ms(latency.corrected.p99)}`],
    ['first token p95', ms(first_token.p95)],
    ['sessions created', `${sessions.created} (${sessions.create_per_second.toFixed(2)}/s)`],
    ['sessions at once', `${sessions.most}`],
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

const style = `
:root {
  color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  --ink: #1b1b1b; --paper: #fff; --soft: #4a4a4a; --line: #b8b8b8; --faint: #dcdcdc; --head: #f2f2f2;
  --passed: #14622f; --missed: #a01812; --note: #8a5a00; --note-paper: #fff8e8;
  --line-1: #1f5fa8; --line-2: #b3261e; --line-3: #1b7a3d; --line-4: #8a5a00; --line-5: #6a3d9a; --line-6: #00707a;
}
@media (prefers-color-scheme: dark) { :root {
  --ink: #e8e8e8; --paper: #16181b; --soft: #b4b4b4; --line: #555b63; --faint: #33383e; --head: #24282d;
  --passed: #7fd79b; --missed: #ff9a8f; --note: #e0b050; --note-paper: #2b2414;
  --line-1: #7db4f5; --line-2: #ff8f85; --line-3: #74d090; --line-4: #e0b050; --line-5: #c7a3f0; --line-6: #5fcfd8;
} }
body { margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); }
.passed { color: var(--passed); font-weight: 600; }
.missed { color: var(--missed); font-weight: 600; }
.note { border-left: 4px solid var(--note); padding: .3rem .8rem; background: var(--note-paper); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.cards div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem; }
.cards dt { font-size: .85rem; color: var(--soft); }
.cards dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { border: 1px solid var(--line); padding: .2rem .55rem; text-align: right; white-space: nowrap; }
td.word { text-align: left; }
th { background: var(--head); font-weight: 500; text-align: left; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figcaption { font-weight: 600; }
figure svg { width: 100%; height: auto; font-size: 11px; }
svg text { fill: var(--ink); }
.grid { stroke: var(--faint); }
.mark { stroke: var(--soft); stroke-dasharray: 3 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; margin: .2rem 0; font-size: .85rem; }
.figures { color: var(--soft); }
summary { cursor: pointer; font-size: .85rem; }
/* A chart as wide as a phone would have labels of five pixels. */
@media (max-width: 40rem) { .plot { overflow-x: auto; } .plot > svg { min-width: 42rem; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #333; } main { max-width: none; padding: 0; } .scroll { overflow: visible; } table { font-size: .7rem; } section { break-inside: auto; } h2 { break-after: avoid; } }
`;
