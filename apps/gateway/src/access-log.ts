import { Counter, type Logger, type Registry } from '@sluice/telemetry';
import { type ProblemCode, problems } from '@sluice/problem';
import type { Exchange } from './exchange.js';
import { LineBudget } from './line-budget.js';

/** How a call ended; `none`: without a problem. */
type Ending = ProblemCode | 'none';

/** The count of what was left out is told so long after the first of it, in milliseconds. */
const TELL_MS = 1000;

/** A caller who asks too often is something to look at, wherever warnings are looked for. */
const levelOf = (status: number) => (status === 429 ? 'warn' : 'info');

/**
 * A line for each call that came to a service. Of the others, nearly all of them refusals, so many a second for each problem code: it
 * costs a stranger nothing to be refused, and a storm of refusals would fill the disk, and cost more than calls do.
 */
export class AccessLog {
  private readonly budget: LineBudget<Ending>;
  private readonly written: Readonly<Record<'info' | 'warn', boolean>>;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly logger: Logger,
    refusalsPerSecond: number,
    metrics: Registry,
  ) {
    const budget = new LineBudget<Ending>(refusalsPerSecond);
    this.budget = budget;
    this.written = { info: logger.isLevelEnabled('info'), warn: logger.isLevelEnabled('warn') };
    new Counter({
      name: 'gateway_calls_not_logged_total',
      help: 'Calls left out of the access log, by problem code (`none`: without a problem)',
      labelNames: ['problem'],
      registers: [metrics],
      collect() {
        this.reset();
        for (const [problem, count] of budget.leftOut()) this.inc({ problem }, count);
      },
    });
  }

  /** @param now what `performance.now()` says */
  ended(exchange: Exchange, rpc: string, ms: number, now: number): void {
    const { problem, work } = exchange;
    const level = levelOf(problem?.status ?? exchange.status);
    if (!this.written[level]) return;
    if (work === undefined && !this.budget.take(problem?.code ?? 'none', now)) {
      this.timer ??= setTimeout(() => this.flush(), TELL_MS).unref();
      return;
    }
    this.logger[level](
      {
        trace_id: exchange.trace?.traceId,
        request_id: exchange.requestId,
        method: exchange.transport.method,
        path: exchange.path.slice(0, 200),
        protocol: exchange.transport.protocol,
        rpc,
        status: exchange.status,
        duration_ms: Math.round(ms * 1000) / 1000,
        client: exchange.head?.clientAddress ?? exchange.transport.peerAddress,
        subject: exchange.caller?.subject,
        tenant: exchange.caller?.tenant ?? exchange.saidTenant?.slice(0, 63),
        problem: problem?.code,
        blocked_by: problem?.details['blocked_by'],
        shadow_refusal: exchange.shadowRefusal,
      },
      'call',
    );
  }

  /** Tells how many calls were left out since the last time, now rather than later. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (const [problem, count] of this.budget.untold()) {
      const level = levelOf(problem === 'none' ? 0 : problems[problem].status);
      this.logger[level]({ problem, count }, 'calls not logged');
    }
  }
}
