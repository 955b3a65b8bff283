import { SluiceError } from '@sluice/client';
import { watchAfterwards, type ContinuingRefusals } from './gateway-watch.js';
import type { ExpiryOptions } from './options.js';
import { openClients, type SimulatedClient } from './sessions.js';
import { judge, type Verdict } from './verdict.js';
import { WireTap, type Blocked } from './wire-tap.js';

/** What came of a simulation; printed as JSON as it is. */
export interface ExpiryReport extends Verdict {
  readonly scenario: 'token-expiry';
  readonly story: 'with_refresh_token' | 'without_refresh_token';
  readonly base_url: string;
  readonly clients: number;
  readonly rounds: number;
  readonly concurrency: number;
  readonly batch_size: number;
  readonly endpoints: readonly string[];
  /** Calls that the clients made; each was sent once or, after a refresh, twice. */
  readonly calls: number;
  /** Answers on the wire by status, refreshes apart. */
  readonly status_counts: Readonly<Record<string, number>>;
  /** What the calls ended with: a status, the client's error code, or the platform's. */
  readonly results: Readonly<Record<string, number>>;
  readonly refresh_calls: number;
  readonly refresh_status_counts: Readonly<Record<string, number>>;
  /** Refusals by dimension. */
  readonly blocked_by: Readonly<Record<string, number>>;
  readonly blocked: readonly Blocked[];
  /** Answers of 5xx by the problem's code. */
  readonly failures: Readonly<Record<string, number>>;
  /** Requests without an answer, by the platform's code. */
  readonly faults: Readonly<Record<string, number>>;
  readonly latency_ms: Readonly<Record<'p50' | 'p95' | 'p99' | 'max', number>>;
  readonly continuing_refusals: readonly ContinuingRefusals[];
}

/** All calls of all clients meet an expired token at once, in the first round; further ones go on with what came of it. */
export async function simulateTokenExpiry(options: ExpiryOptions): Promise<ExpiryReport> {
  const tap = new WireTap();
  const clients = await openClients(options, tap);
  const results: Record<string, number> = {};
  try {
    await Promise.all(clients.map((client) => client.expire()));
    for (let round = 0; round < options.rounds; round++) {
      await Promise.all(clients.map((client) => runBatch(client, options.concurrency, results)));
    }
    const continuing = await watchAfterwards(options);
    return report(options, clients.length, tap, results, continuing);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

async function runBatch(
  { client, paths }: SimulatedClient,
  concurrency: number,
  results: Record<string, number>,
): Promise<void> {
  let next = 0;
  const runner = async () => {
    while (next < paths.length) {
      const result = await resultOf(client.fetch(paths[next++] as string));
      results[result] = (results[result] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, paths.length) }, runner));
}

async function resultOf(call: Promise<Response>): Promise<string> {
  try {
    const response = await call;
    await response.arrayBuffer();
    return String(response.status);
  } catch (error) {
    if (error instanceof SluiceError) return error.code;
    return (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).name;
  }
}

function report(
  options: ExpiryOptions,
  clients: number,
  tap: WireTap,
  results: Readonly<Record<string, number>>,
  continuing: readonly ContinuingRefusals[],
): ExpiryReport {
  const blocked = [...tap.blocked.values()].toSorted((a, b) => b.count - a.count);
  const blockedBy: Record<string, number> = {};
  for (const { blocked_by, count } of blocked) blockedBy[blocked_by] = (blockedBy[blocked_by] ?? 0) + count;
  const facts = {
    scenario: 'token-expiry',
    story:
      options.clients === undefined && options.refreshToken === undefined
        ? 'without_refresh_token'
        : 'with_refresh_token',
    base_url: options.apiUrl,
    clients,
    rounds: options.rounds,
    concurrency: options.concurrency,
    batch_size: options.batchSize,
    endpoints: options.endpoints,
    calls: clients * options.rounds * options.batchSize,
    status_counts: tap.statusCounts,
    results,
    refresh_calls: tap.refreshCalls,
    refresh_status_counts: tap.refreshStatusCounts,
    blocked_by: blockedBy,
    blocked,
    failures: tap.failures,
    faults: tap.faults,
    latency_ms: percentiles(tap.latenciesMs),
    continuing_refusals: continuing,
  } as const;
  return { ...facts, ...judge(facts) };
}

function percentiles(latenciesMs: readonly number[]): ExpiryReport['latency_ms'] {
  const ascending = latenciesMs.toSorted((a, b) => a - b);
  const at = (share: number) => {
    const value = ascending[Math.max(0, Math.ceil(ascending.length * share) - 1)] ?? 0;
    return Math.round(value * 10) / 10;
  };
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
