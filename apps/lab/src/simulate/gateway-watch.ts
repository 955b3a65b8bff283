import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Refusals that the gateway counted after the run was over: somebody still asks. */
export interface ContinuingRefusals {
  readonly source: 'metrics' | 'log';
  readonly seconds: number;
  readonly refusals: number;
}

/** Where the gateway was told to be looked at. */
export interface GatewayPlaces {
  readonly metrics: { readonly url: string; readonly asked: boolean } | undefined;
  readonly logFile: string | undefined;
  readonly settleSeconds: number;
}

/**
 * @returns nothing of a place that nobody has named and that is not there
 * @throws when a place that was named cannot be read
 */
export async function watchAfterwards(places: GatewayPlaces): Promise<ContinuingRefusals[]> {
  const { metrics, logFile, settleSeconds: seconds } = places;
  const before =
    metrics &&
    (await refusalsInMetrics(metrics.url).catch((error: unknown) => {
      if (metrics.asked) throw error;
      return undefined;
    }));
  if (before === undefined && logFile === undefined) return [];
  const offset = logFile === undefined ? 0 : sizeOf(logFile);
  await delay(seconds * 1000);
  const found: ContinuingRefusals[] = [];
  if (metrics !== undefined && before !== undefined) {
    found.push({ source: 'metrics', seconds, refusals: (await refusalsInMetrics(metrics.url)) - before });
  }
  if (logFile !== undefined) found.push({ source: 'log', seconds, refusals: refusalsInLog(logFile, offset) });
  return found;
}

async function refusalsInMetrics(url: string): Promise<number> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return countRefusals(await response.text());
}

/** The sum of `gateway_limit_refusals_total` over all policies that are enforced. */
export function countRefusals(metrics: string): number {
  let sum = 0;
  for (const line of metrics.split('\n')) {
    const match = /^gateway_limit_refusals_total\{([^}]*)\} (\S+)/.exec(line);
    if (match?.[1] !== undefined && !match[1].includes('shadow="true"')) sum += Number(match[2]);
  }
  return sum;
}

function sizeOf(file: string): number {
  const handle = openSync(file, 'r');
  try {
    return fstatSync(handle).size;
  } finally {
    closeSync(handle);
  }
}

/** Calls with status 429 that were logged, one JSON object a line, from an offset on. */
export function refusalsInLog(file: string, offset: number): number {
  const handle = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(Math.max(0, fstatSync(handle).size - offset));
    readSync(handle, bytes, 0, bytes.length, offset);
    return bytes.toString().split('\n').filter(isRefusal).length;
  } finally {
    closeSync(handle);
  }
}

function isRefusal(line: string): boolean {
  try {
    return (JSON.parse(line) as { status?: number }).status === 429;
  } catch {
    return false;
  }
}
