import { readFileSync } from 'node:fs';
import { UsageError } from '../load/scenario.js';
import { REPORT_FORMAT, type Report } from './report.js';
import { ms, percent } from './thresholds.js';

/** One figure beside that of an earlier run. */
export interface Comparison {
  readonly name: string;
  readonly before: string;
  readonly now: string;
  /** Change as a share of the earlier figure, or in points for shares; positive is worse. */
  readonly worse: number;
  readonly regressed: boolean;
}

/** Differences below this are noise whatever the tolerance says: 5 ms, or half a point of a share. */
const LATENCY_NOISE_MS = 5;
const SHARE_NOISE = 0.005;

/** @throws UsageError when the file is not a report of this lab, or is of another scenario or time scale */
export function readBaseline(path: string, scenario: string, timeScale: number): Report {
  let content: Partial<Report>;
  try {
    content = JSON.parse(readFileSync(path, 'utf8')) as Partial<Report>;
  } catch (error) {
    throw new UsageError(`--baseline ${path}: ${(error as Error).message}`);
  }
  if (content?.format !== REPORT_FORMAT) throw new UsageError(`--baseline ${path}: expected a report.json of this lab`);
  const baseline = content as Report;
  const { time_scale } = baseline.configuration;
  if (baseline.scenario.name !== scenario || time_scale !== timeScale) {
    throw new UsageError(
      `--baseline ${path} is of ${baseline.scenario.name} at time scale ${time_scale}: expected ${scenario} at ${timeScale}`,
    );
  }
  return baseline;
}

/**
 * The figures that matter beside an earlier run's.
 *
 * @param tolerance how much worse a figure may be: a share of the earlier latency or rate; a tenth of it, in points, for shares
 */
export function compare(report: Report, baseline: Report, tolerance: number): Comparison[] {
  const latency = (name: string, before: number, now: number): Comparison => {
    const worse = before === 0 ? 0 : (now - before) / before;
    return {
      name,
      before: ms(before),
      now: ms(now),
      worse,
      regressed: worse > tolerance && now - before > LATENCY_NOISE_MS,
    };
  };
  const share = (name: string, before: number, now: number, higherIsWorse: boolean): Comparison => {
    const worse = higherIsWorse ? now - before : before - now;
    return {
      name,
      before: percent(before),
      now: percent(now),
      worse,
      regressed: worse > Math.max(SHARE_NOISE, tolerance / 10),
    };
  };
  const rate = (name: string, before: number, now: number): Comparison => {
    const worse = before === 0 ? 0 : (before - now) / before;
    return { name, before: `${before.toFixed(2)}/s`, now: `${now.toFixed(2)}/s`, worse, regressed: worse > tolerance };
  };
  const was = baseline.latency.corrected;
  const is = report.latency.corrected;
  return [
    latency('latency, median', was.p50, is.p50),
    latency('latency, 95th percentile', was.p95, is.p95),
    latency('latency, 99th percentile', was.p99, is.p99),
    latency('first token, 95th percentile', baseline.first_token.p95, report.first_token.p95),
    share('successful calls', baseline.calls.success_share, report.calls.success_share, false),
    share('refused calls (429)', baseline.calls.refused_share, report.calls.refused_share, true),
    rate('sessions created', baseline.sessions.create_per_second, report.sessions.create_per_second),
  ];
}
