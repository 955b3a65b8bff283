import { cpus, totalmem } from 'node:os';
import type { LatencySummary } from '../load/histogram.js';
import { judgeLeak, type LeakVerdict, type MemorySample } from '../load/leak.js';
import type { Counts, CallKind, UnsentReason } from '../load/recorder.js';
import type { Recovery } from '../load/recovery.js';
import type { Moment, RunResult } from '../load/run.js';
import type { Scenario } from '../load/scenario.js';
import { advise, type Advice } from './advice.js';
import { judge, type ThresholdResult } from './thresholds.js';

/** The form of report.json; a reader refuses what it does not know. */
export const REPORT_FORMAT = 'sluice-load-report/1';

export interface KindReport extends Counts {
  readonly kind: CallKind;
  readonly corrected: LatencySummary;
  readonly uncorrected: LatencySummary;
}

/** All of a run's findings: the content of report.json. Durations in milliseconds, shares from 0 to 1. */
export interface Report {
  readonly format: typeof REPORT_FORMAT;
  readonly scenario: Scenario;
  readonly configuration: {
    readonly server: string;
    readonly time_scale: number;
    readonly client_addresses: number;
    readonly address_mode: string;
    readonly seed: number;
    readonly call_timeout_ms: number;
    /** What the run asked of each client address in a real minute, at full rate and multiplier 1. */
    readonly calls_per_address_per_real_minute: number;
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly started_at: string;
  readonly ended_at: string;
  readonly elapsed_ms: number;
  readonly interrupted: boolean;
  readonly calls: Counts & {
    readonly success_share: number;
    readonly refused_share: number;
    readonly sent_share: number;
    /** Sent in a real second, over the whole run. */
    readonly per_second: number;
  };
  readonly refused_by: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
  /** What the server said when a cause was met first. */
  readonly failure_details: Readonly<Record<string, string>>;
  readonly unsent: Readonly<Record<UnsentReason, number>>;
  readonly latency: { readonly corrected: LatencySummary; readonly uncorrected: LatencySummary };
  readonly first_token: LatencySummary;
  readonly kinds: readonly KindReport[];
  readonly sessions: RunResult['sessions'] & {
    /** Per second of scenario time, while sessions were being created. */
    readonly create_per_second: number;
  };
  /** Undefined: the scenario does not ask whether all is as before the load. */
  readonly recovery: Recovery | undefined;
  readonly generator: {
    readonly cpu_seconds: number;
    readonly cpu_most: number;
    readonly lag_p99_most_ms: number;
    readonly rss_most_bytes: number;
    readonly connections: number;
    readonly late: number;
    readonly late_most_ms: number;
    /** Why the generator's own state puts the figures in doubt; empty when it does not. */
    readonly clouded: readonly string[];
  };
  readonly multiplier: { readonly last: number; readonly least: number; readonly most: number };
  readonly memory: readonly {
    readonly service: string;
    readonly samples: readonly MemorySample[];
    readonly leak: LeakVerdict;
  }[];
  readonly moments: readonly Moment[];
  readonly thresholds: readonly ThresholdResult[];
  readonly advice: readonly Advice[];
  readonly passed: boolean;
}

const CPU_CLOUDED = 0.8;
const LAG_CLOUDED_MS = 50;
const LATE_SHARE_CLOUDED = 0.01;
/** A busy slice or two in a hundred do not cloud a run. */
const SLICES_SHARE_CLOUDED = 0.05;

/** @param versions of what took part, by name */
export function reportOf(result: RunResult, versions: Readonly<Record<string, string>>): Report {
  const { plan, recorder } = result;
  const { total } = recorder;
  const answered = total.ok + total.refused + total.failed;
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const multipliers = result.moments.map(({ multiplier }) => multiplier);
  const findings = {
    format: REPORT_FORMAT,
    scenario: plan.scenario,
    configuration: {
      server: plan.baseUrl,
      time_scale: plan.timeScale,
      client_addresses: plan.addressCount,
      address_mode: plan.addressMode,
      seed: plan.seed,
      call_timeout_ms: plan.callTimeoutMs,
      calls_per_address_per_real_minute: (plan.callsPerSecond * 60) / plan.addressCount,
    },
    versions: { node: process.version, machine: `${cpus().length} cores, ${gigabytes(totalmem())} GB`, ...versions },
    started_at: result.startedAt,
    ended_at: result.endedAt,
    elapsed_ms: result.elapsedMs,
    interrupted: result.interrupted,
    calls: {
      ...total,
      success_share: share(total.ok, answered),
      refused_share: share(total.refused, answered),
      sent_share: share(total.sent, total.planned),
      per_second: share(total.sent * 1000, result.elapsedMs),
    },
    refused_by: recorder.refusedBy,
    failures: recorder.failures,
    failure_details: recorder.failureDetails,
    unsent: recorder.unsent,
    latency: recorder.latency(),
    first_token: recorder.firstToken.summary(),
    kinds: recorder.byKind().map(({ kind, counts, ...latency }) => ({ kind, ...counts, ...latency })),
    sessions: {
      ...result.sessions,
      create_per_second: result.createPerSecond / plan.timeScale,
    },
    recovery: result.recovery,
    generator: {
      cpu_seconds: result.generator.cpuSeconds,
      cpu_most: result.generator.cpuMost,
      lag_p99_most_ms: result.generator.lagP99MostMs,
      rss_most_bytes: result.generator.rssMostBytes,
      connections: result.generator.connections,
      late: recorder.late,
      late_most_ms: recorder.lateMostMs,
      clouded: clouded(result),
    },
    multiplier: {
      last: multipliers.at(-1) ?? 1,
      least: Math.min(1, ...multipliers),
      most: Math.max(1, ...multipliers),
    },
    memory: result.memory.map(({ service, samples }) => ({ service, samples, leak: judgeLeak(samples) })),
    moments: result.moments,
  } satisfies Omit<Report, 'thresholds' | 'advice' | 'passed'>;
  const thresholds = judge(findings);
  return {
    ...findings,
    thresholds,
    advice: advise({ ...findings, thresholds }),
    passed: thresholds.every(({ passed }) => passed),
  };
}

function clouded({ recorder, generator, moments }: RunResult): string[] {
  const reasons: string[] = [];
  const slices = (busy: (moment: Moment) => boolean) => {
    const count = moments.filter(busy).length;
    return count > moments.length * SLICES_SHARE_CLOUDED ? `in ${count} of ${moments.length} slices` : undefined;
  };
  const cpu = slices((moment) => moment.generator.cpu > CPU_CLOUDED);
  if (cpu) reasons.push(`${cpu} the generator used up to ${Math.round(generator.cpuMost * 100)} % of a core`);
  const lag = slices((moment) => moment.generator.lagP99Ms > LAG_CLOUDED_MS);
  if (lag)
    reasons.push(`${lag} its event loop was up to ${Math.round(generator.lagP99MostMs)} ms late (99th percentile)`);
  if (recorder.late > recorder.total.sent * LATE_SHARE_CLOUDED) {
    reasons.push(`${recorder.late} of ${recorder.total.sent} calls left more than 50 ms after their planned moment`);
  }
  return reasons;
}

const gigabytes = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
