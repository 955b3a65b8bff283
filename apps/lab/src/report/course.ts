import { phasesOf } from '../load/phases.js';
import type { Chart } from './chart.js';
import type { Report } from './report.js';
import { ms } from './thresholds.js';

/** The course of a run, chart by chart. */
export function chartsOf(report: Report): Chart[] {
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
