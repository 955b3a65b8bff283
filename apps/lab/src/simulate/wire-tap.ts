/** What one policy refused. */
export interface Blocked {
  readonly blocked_by: string;
  readonly policy: string;
  readonly limit: number | undefined;
  readonly window_seconds: number | undefined;
  count: number;
  retry_after_ms_max: number;
}

interface ProblemDocument {
  readonly code?: string;
  readonly details?: {
    readonly blocked_by?: string;
    readonly policy?: string;
    readonly limit?: number;
    readonly window_seconds?: number;
    readonly retry_after_ms?: number;
  };
}

/** Counts what really goes over the wire, refreshes apart, on the way to and from a `fetch`. */
export class WireTap {
  readonly statusCounts: Record<string, number> = {};
  readonly refreshStatusCounts: Record<string, number> = {};
  readonly blocked = new Map<string, Blocked>();
  /** Answers of 5xx by the problem's code. */
  readonly failures: Record<string, number> = {};
  /** Requests without an answer, by the platform's code. */
  readonly faults: Record<string, number> = {};
  readonly latenciesMs: number[] = [];
  refreshCalls = 0;

  wrap(send: typeof fetch): typeof fetch {
    return async (input, init) => {
      const isRefresh = String(input).endsWith('/auth/refresh');
      if (isRefresh) this.refreshCalls++;
      const start = performance.now();
      let response: Response;
      try {
        response = await send(input, init);
      } catch (error) {
        count(this.faults, faultOf(error));
        throw error;
      }
      this.latenciesMs.push(performance.now() - start);
      count(isRefresh ? this.refreshStatusCounts : this.statusCounts, String(response.status));
      if (response.status === 429) this.#refused(await problemOf(response));
      else if (response.status >= 500) count(this.failures, (await problemOf(response)).code ?? 'unknown');
      return response;
    };
  }

  #refused({ details }: ProblemDocument): void {
    const { blocked_by = 'unknown', policy = 'unknown', limit, window_seconds, retry_after_ms = 0 } = details ?? {};
    const key = `${blocked_by} ${policy}`;
    const known = this.blocked.get(key) ?? {
      blocked_by,
      policy,
      limit,
      window_seconds,
      count: 0,
      retry_after_ms_max: 0,
    };
    known.count++;
    known.retry_after_ms_max = Math.max(known.retry_after_ms_max, retry_after_ms);
    this.blocked.set(key, known);
  }
}

/** The problem that a response tells, which its receiver can still read; empty when something else answered. */
async function problemOf(response: Response): Promise<ProblemDocument> {
  try {
    return (await response.clone().json()) as ProblemDocument;
  } catch {
    return {};
  }
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

function faultOf(error: unknown): string {
  const { cause, name } = error as Error & { cause?: { code?: string } };
  return cause?.code ?? name;
}
