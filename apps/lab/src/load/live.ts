import { clock } from '../report/chart.js';
import { ms, percent } from '../report/thresholds.js';
import type { LoadPlan } from './plan.js';
import type { LiveStatus } from './run.js';

/** Where the live view is written: a terminal or a file. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const PLAIN_EVERY_MS = 5_000;
const BAR_WIDTH = 30;

/** One screen that updates in place; a line every five seconds when the output is not a terminal. */
export class LiveView {
  private linesDrawn = 0;
  private lastPlainMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly plan: LoadPlan,
    private readonly screen: Screen,
  ) {}

  show(status: LiveStatus): void {
    if (!this.screen.isTTY) {
      if (status.elapsedMs - this.lastPlainMs < PLAIN_EVERY_MS) return;
      this.lastPlainMs = status.elapsedMs;
      this.screen.write(`${plainLine(this.plan, status)}\n`);
      return;
    }
    const lines = screenLines(this.plan, status).map((line) => line.slice(0, (this.screen.columns ?? 80) - 1));
    const back = this.linesDrawn > 0 ? `\x1b[${this.linesDrawn}A` : '';
    this.screen.write(`${back}${lines.map((line) => `\x1b[2K${line}\n`).join('')}`);
    this.linesDrawn = lines.length;
  }
}

function plainLine(plan: LoadPlan, { phase, elapsedMs, moment, recorder }: LiveStatus): string {
  const { total } = recorder;
  return (
    `${clock(elapsedMs / 1000)} of ${clock(plan.phases.endMs / 1000)} ${phase}: ${moment.sessions} sessions, ` +
    `${total.sent} sent, ${shareOf(total.ok, recorder)} ok, ${shareOf(total.refused, recorder)} refused, ` +
    `p95 ${ms(moment.p95)}, multiplier ${moment.multiplier.toFixed(2)}`
  );
}

/** The whole view, line by line. */
function screenLines(plan: LoadPlan, { phase, elapsedMs, moment, recorder }: LiveStatus): string[] {
  const { total, refusedBy } = recorder;
  const done = Math.min(1, elapsedMs / plan.phases.endMs);
  const filled = Math.round(done * BAR_WIDTH);
  const sliceSeconds = Math.max(0.001, (elapsedMs - moment.atMs) / 1000);
  const refusals = Object.entries(refusedBy).map(([name, count]) => `${name} ${count}`);
  const scale = plan.timeScale === 1 ? '' : `, ${plan.timeScale} times faster`;
  return [
    `${plan.scenario.name} on ${plan.baseUrl}${scale}`,
    `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${phase}, ${clock(Math.max(0, plan.phases.endMs - elapsedMs) / 1000)} left`,
    `sessions   ${moment.sessions} of ${plan.scenario.sessions}, at most ${moment.sessionsMost} at once; ${total.sent} calls sent`,
    `rate       ${(moment.sent / sliceSeconds).toFixed(1)}/s sent, ${(moment.planned / sliceSeconds).toFixed(1)}/s planned, multiplier ${moment.multiplier.toFixed(2)}`,
    `success    ${shareOf(total.ok, recorder)} of ${total.ok + total.refused + total.failed}, ${total.failed} failed`,
    `refused    ${shareOf(total.refused, recorder)}${refusals.length > 0 ? `: ${refusals.join(', ')}` : ''}`,
    `latency    p50 ${ms(moment.p50)}, p95 ${ms(moment.p95)}, p99 ${ms(moment.p99)}`,
    `under way  ${moment.inFlight} calls, ${moment.addressesResting} of ${plan.addressCount} addresses rest`,
    `generator  ${Math.round(moment.generator.cpu * 100)} % of a core, ${ms(moment.generator.lagP99Ms)} lag`,
    'Ctrl-C ends the run with a clean-up and a report.',
  ];
}

function shareOf(count: number, { total }: LiveStatus['recorder']): string {
  const answered = total.ok + total.refused + total.failed;
  return answered === 0 ? '–' : percent(count / answered);
}
