import { performance } from 'node:perf_hooks';
import { Counter, Gauge, type Logger, type Registry } from '@sluice/telemetry';
import { Problem, type ProblemCode } from '@sluice/problem';
import type { Decision, RedisStore, Verdict } from '@sluice/limit';
import type { AccessLog } from './access-log.js';
import { CallMetrics } from './call-metrics.js';
import type { Clients } from './listener/clients.js';
import { Http2Metrics } from './listener/http2-metrics.js';
import type { Listener } from './listener/listener.js';
import { LineBudget } from './line-budget.js';
import { limitHits } from './listener/options.js';
import type { Exchange } from './exchange.js';
import type { Runtime } from './runtime.js';
import { streamMetrics } from './streams/stream-metrics.js';
import { TenantMetrics } from './tenant/tenant-metrics.js';

/** What the gateway writes down about calls. */
export interface CallLog {
  /** A refusal or failure that is about to be the answer. */
  failed(exchange: Exchange, problem: Problem): void;
  /** The end of a call, whatever became of it. */
  ended(exchange: Exchange): void;
}

/** Characters of a service's message that are written. */
const CAUSE_MAX = 1000;

/** Failures that are written in a second, of each code: when a service is down, every call to it fails. */
const FAILURES_PER_SECOND = 100;

/** The metrics of the gateway, and the log of calls. Label values come from the configuration, never from a client. */
export class Observer implements CallLog {
  private readonly calls: CallMetrics;
  private readonly tenants: TenantMetrics;
  private readonly reloads: Counter<'outcome'>;
  private readonly http2: Http2Metrics;
  private readonly failures = new LineBudget<ProblemCode>(FAILURES_PER_SECOND);
  /** Decisions by policy; with the refusals they give the share that a policy in shadow mode would refuse. */
  private readonly decisions = new Map<string, number>();
  private readonly refusals = new Map<string, { policy: string; blocked_by: string; shadow: string; count: number }>();

  constructor(
    private readonly logger: Logger,
    private readonly accessLog: AccessLog | undefined,
    metrics: Registry,
    private readonly runtime: () => Runtime | undefined,
    listener: () => Listener | undefined,
    /** In milliseconds, as `startedAt` of an exchange counts. */
    private readonly clock = () => performance.now(),
  ) {
    const registers = [metrics];
    this.calls = new CallMetrics(metrics);
    this.tenants = new TenantMetrics(metrics);
    const { decisions, refusals } = this;
    new Counter({
      name: 'gateway_limit_refusals_total',
      help: 'Calls that a policy refused, or would have refused in shadow mode',
      labelNames: ['policy', 'blocked_by', 'shadow'],
      registers,
      collect() {
        this.reset();
        for (const { count, ...labels } of refusals.values()) this.inc(labels, count);
      },
    });
    new Counter({
      name: 'gateway_limit_decisions_total',
      help: 'Decisions by policy, in shadow mode too; gateway_limit_refusals_total over this is the share refused',
      labelNames: ['policy'],
      registers,
      collect() {
        this.reset();
        for (const [policy, count] of decisions) this.inc({ policy }, count);
      },
    });
    this.reloads = new Counter({
      name: 'gateway_config_reloads_total',
      help: 'Changed configurations that were taken over or refused',
      labelNames: ['outcome'],
      registers,
    });
    // An alert on a series that is not there yet would miss its first increase.
    for (const outcome of ['taken', 'refused'] as const) this.reloads.inc({ outcome }, 0);
    upstreamGauges(registers, runtime);
    streamMetrics(registers, runtime);
    authenticationMetrics(registers, runtime);
    keyFetchMetrics(registers, runtime);
    apiKeyMetrics(registers, runtime);
    listenerMetrics(registers, listener);
    this.http2 = new Http2Metrics(registers, runtime, listener);
  }

  /** @param ms for how long a client's SETTINGS waited for us */
  settingsAcknowledged(ms: number): void {
    this.http2.acknowledged(ms);
  }

  decided(exchange: Exchange, decision: Decision): void {
    for (const verdict of decision.verdicts) {
      const { name } = verdict.policy;
      this.decisions.set(name, (this.decisions.get(name) ?? 0) + 1);
      if (!verdict.refused) continue;
      if (verdict.shadow) exchange.shadowRefusal = name;
      this.countRefusal(verdict);
    }
  }

  private countRefusal({ policy: { name, blockedBy }, shadow }: Verdict): void {
    const key = `${name} ${blockedBy} ${shadow}`;
    const series = this.refusals.get(key);
    if (series) series.count++;
    else this.refusals.set(key, { policy: name, blocked_by: blockedBy, shadow: String(shadow), count: 1 });
  }

  /** The shared store of limits, once there is one. */
  watchStore(store: RedisStore, metrics: Registry): void {
    const registers = [metrics];
    new Gauge({
      name: 'gateway_limit_store_up',
      help: '1 while the shared store of limits answers; 0: each policy follows its declared mode',
      registers,
      collect() {
        this.set(store.stats.state === 'up' ? 1 : 0);
      },
    });
    new Counter({
      name: 'gateway_limit_store_by_mode_total',
      help: 'Policies of calls that were answered by their declared mode because the store was lost',
      labelNames: ['mode'],
      registers,
      collect() {
        this.reset();
        for (const [mode, count] of Object.entries(store.stats.byMode)) this.inc({ mode }, count);
      },
    });
    const totals = [
      ['gateway_limit_store_scripts_total', 'Scripts sent to the store', 'scripts'],
      ['gateway_limit_store_timeouts_total', 'Scripts that took too long', 'timeouts'],
      ['gateway_limit_store_errors_total', 'Scripts that failed', 'errors'],
      ['gateway_limit_store_losses_total', 'Times the store was lost', 'losses'],
    ] as const;
    for (const [name, help, key] of totals) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(store.stats[key]);
        },
      });
    }
  }

  /** What is held in memory for clients. */
  watchMemory(clients: Clients, metrics: Registry): void {
    const registers = [metrics];
    const { memory, counters } = clients;
    new Gauge({
      name: 'gateway_memory_held_bytes',
      help: 'Held for clients: bodies that arrive, calls that wait, answers that are not read',
      registers,
      collect() {
        this.set(memory.held);
      },
    });
    new Gauge({
      name: 'gateway_memory_limit_bytes',
      help: 'What may be held for all clients together',
      registers,
      collect() {
        this.set(memory.limit);
      },
    });
    new Gauge({
      name: 'gateway_memory_waiting',
      help: 'Bodies and answers that wait for room in memory',
      registers,
      collect() {
        this.set(memory.waiters);
      },
    });
    const reasons = {
      waited: () => memory.counters.refused,
      exhausted: () => counters.memory_exhausted,
      shed: () => memory.counters.shed,
    };
    new Counter({
      name: 'gateway_memory_refusals_total',
      help: 'Calls that waited for memory in vain or were refused at once for want of it, and connections that were ended because they held most',
      labelNames: ['reason'],
      registers,
      collect() {
        this.reset();
        for (const [reason, count] of Object.entries(reasons)) this.inc({ reason }, count());
      },
    });
  }

  revocationsChanged(fresh: boolean, reason: string): void {
    if (fresh) this.logger.info({ reason }, 'ended sessions are known at once');
    else this.logger.error({ reason }, 'the stream of ended sessions is lost');
  }

  keysMissed(error: unknown): void {
    const cause = error instanceof Problem ? causeOf(error) : { err: error };
    this.logger.error(cause, 'the keys that tokens are signed with could not be fetched');
  }

  reloaded(taken: boolean): void {
    this.reloads.inc({ outcome: taken ? 'taken' : 'refused' });
  }

  failed(exchange: Exchange, problem: Problem): void {
    exchange.problem = problem;
    if (problem.status < 500 || problem.code === 'DEADLINE_EXCEEDED' || problem.code === 'OVERLOADED') return;
    if (!this.failures.take(problem.code, this.clock())) return;
    const leftOut = this.failures.untoldOf(problem.code);
    this.logger.error(
      {
        trace_id: exchange.trace?.traceId,
        request_id: exchange.requestId,
        path: exchange.path.slice(0, 200),
        problem: problem.code,
        ...causeOf(problem),
        // Lines like this one before it, of which there were too many.
        left_out: leftOut > 0 ? leftOut : undefined,
      },
      'call failed',
    );
  }

  ended(exchange: Exchange): void {
    const rpc = exchange.route?.target.method.path ?? 'none';
    const form = exchange.route?.form ?? 'rest';
    const now = this.clock();
    const ms = now - exchange.startedAt;
    this.calls.count(rpc, form, exchange.status, ms);
    if (exchange.tenant) this.countOfTenant(exchange, ms, now);
    this.accessLog?.ended(exchange, rpc, ms, now);
  }

  private countOfTenant({ tenant, problem, status, route, runtime }: Exchange, ms: number, now: number): void {
    const { config } = this.runtime() ?? runtime;
    // Over gRPC the status of HTTP says nothing of what became of the call.
    const became = status === 499 ? 499 : (problem?.status ?? status);
    const isStream = route.target.method.kind !== 'unary';
    this.tenants.count(config.tenants, tenant, became, isStream ? undefined : ms, now);
  }
}

/** A sentence is the service's word, which clients may not see, or ours; anything else is an error. */
function causeOf({ cause }: Problem): { cause: string } | { err: unknown } {
  return typeof cause === 'string' ? { cause: cause.slice(0, CAUSE_MAX) } : { err: cause };
}

function listenerMetrics(registers: Registry[], listener: () => Listener | undefined): void {
  new Gauge({
    name: 'gateway_connections',
    help: 'Open client connections',
    registers,
    collect() {
      this.set(listener()?.connections() ?? 0);
    },
  });
  new Gauge({
    name: 'gateway_tls_certificate_expires_seconds',
    help: 'When the first of the certificates of the TLS port expires, in seconds since 1970',
    registers,
    collect() {
      const at = listener()?.certificatesExpireAt();
      if (at) this.set(at.getTime() / 1000);
    },
  });
  new Counter({
    name: 'gateway_listener_limit_hits_total',
    help: 'Clients that hit a limit of the listener',
    labelNames: ['limit'],
    registers,
    collect() {
      this.reset();
      for (const limit of limitHits) this.inc({ limit }, listener()?.hits(limit) ?? 0);
    },
  });
}

function authenticationMetrics(registers: Registry[], runtime: () => Runtime | undefined): void {
  new Gauge({
    name: 'gateway_revocations_fresh',
    help: '1 while every ended session is known at once; 0: the stream of the user service is lost',
    registers,
    collect() {
      const revocations = runtime()?.revocations;
      if (revocations) this.set(revocations.fresh ? 1 : 0);
    },
  });
  new Gauge({
    name: 'gateway_revocations',
    help: 'Ended sessions whose access tokens have not expired',
    registers,
    collect() {
      this.set(runtime()?.verifier?.revocations.size ?? 0);
    },
  });
  new Counter({
    name: 'gateway_tokens_total',
    help: 'Access tokens by what was found: cached, verified, expired, refused',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset();
      const stats = runtime()?.verifier?.stats();
      for (const outcome of ['cached', 'verified', 'expired', 'refused'] as const) {
        if (stats) this.inc({ outcome }, stats[outcome]);
      }
    },
  });
}

function apiKeyMetrics(registers: Registry[], runtime: () => Runtime | undefined): void {
  new Counter({
    name: 'gateway_api_keys_total',
    help: 'API keys by what was found: cached, refused; and how often the user service was asked about one: asked',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset();
      const stats = runtime()?.apiKeys?.stats();
      if (!stats) return;
      this.inc({ outcome: 'cached' }, stats.cached);
      this.inc({ outcome: 'refused' }, stats.refused);
      this.inc({ outcome: 'asked' }, stats.lookUps);
    },
  });
}

function keyFetchMetrics(registers: Registry[], runtime: () => Runtime | undefined): void {
  new Counter({
    name: 'gateway_key_fetches_total',
    help: 'Fetches of the keys that tokens are signed with, by outcome',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset();
      const stats = runtime()?.verifier?.stats();
      if (!stats) return;
      this.inc({ outcome: 'failed' }, stats.keyFetchFailures);
      this.inc({ outcome: 'arrived' }, stats.keyFetches - stats.keyFetchFailures);
    },
  });
}

function upstreamGauges(registers: Registry[], runtime: () => Runtime | undefined): void {
  const gauges = [
    ['gateway_upstream_streams', 'Calls in flight', 'streams'],
    [
      'gateway_upstream_abandoned',
      'Of the calls in flight, those that nobody waits for and which the service has not ended yet',
      'abandoned',
    ],
    ['gateway_upstream_queued', 'Calls that wait for a free stream', 'queued'],
    ['gateway_upstream_connections', 'Open connections', 'connections'],
    ['gateway_upstream_addresses', 'Addresses that are known', 'addresses'],
    ['gateway_upstream_in_flight', 'Calls in flight that count against the limit: all but streams', 'inFlight'],
    ['gateway_upstream_limit', 'Calls that may be in flight now', 'limit'],
    ['gateway_upstream_ejected', 'Addresses that are ejected because they kept failing', 'ejected'],
  ] as const;
  const totals = [
    ['gateway_upstream_calls_total', 'Calls', 'calls'],
    ['gateway_upstream_retries_total', 'Calls that were sent once more', 'retries'],
    ['gateway_upstream_retries_refused_total', 'Retries that the budget refused', 'retriesRefused'],
    ['gateway_upstream_shed_total', 'Calls that were refused at once because there was no room', 'shed'],
    ['gateway_upstream_connect_failures_total', 'Connection attempts that failed', 'connectFailures'],
    ['gateway_upstream_waited_total', 'Calls that waited for others to end before they were sent', 'waitedCalls'],
    ['gateway_upstream_resets_total', 'Calls in flight that were cancelled by RST_STREAM', 'resets'],
    [
      'gateway_upstream_connections_retired_total',
      'Connections that gave way to a fresh one because many calls on them had been cancelled',
      'retired',
    ],
  ] as const;
  const seconds = [
    ['gateway_upstream_latency_seconds', 'What calls lately took, in the mean', 'latencyMs'],
    ['gateway_upstream_unloaded_seconds', 'What a call takes when none waits for another, in the mean', 'unloadedMs'],
    [
      'gateway_upstream_unanswered_seconds',
      'How long calls have been sent without an answer to any; those who made them may have left',
      'unansweredMs',
    ],
  ] as const;
  for (const [name, help, key] of seconds) {
    new Gauge({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        for (const upstream of runtime()?.upstreams ?? [])
          this.set({ upstream: upstream.name }, upstream.channel.stats[key] / 1000);
      },
    });
  }
  new Counter({
    name: 'gateway_upstream_waited_seconds_total',
    help: 'How long calls waited for others to end before they were sent, in all',
    labelNames: ['upstream'],
    registers,
    collect() {
      this.reset();
      for (const upstream of runtime()?.upstreams ?? [])
        this.inc({ upstream: upstream.name }, upstream.channel.stats.waitedMs / 1000);
    },
  });
  new Counter({
    name: 'gateway_upstream_refused_total',
    help: 'Calls that were refused before they were sent: the queue was full, they had waited as long as they may, or had too little time left',
    labelNames: ['upstream', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const upstream of runtime()?.upstreams ?? [])
        for (const [reason, count] of Object.entries(upstream.channel.stats.refused))
          this.inc({ upstream: upstream.name, reason }, count);
    },
  });
  for (const [name, help, key] of gauges) {
    new Gauge({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        for (const upstream of runtime()?.upstreams ?? [])
          this.set({ upstream: upstream.name }, upstream.channel.stats[key]);
      },
    });
  }
  for (const [name, help, key] of totals) {
    new Counter({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        this.reset();
        for (const upstream of runtime()?.upstreams ?? [])
          this.inc({ upstream: upstream.name }, upstream.channel.stats[key]);
      },
    });
  }
}
