import { probe } from '@sluice/storage';
import type { Readiness } from '@sluice/telemetry';

/** How long one look at Postgres is good for, in milliseconds: readiness is asked by many. */
const KEPT_MS = 500;

/** Ready while Postgres takes new connections and changes; otherwise its fault is named `postgres`. */
export function postgresReadiness(dataSource: Parameters<typeof probe>[0]): Readiness {
  let kept: { until: number; answer: Promise<Record<string, string>> } | undefined;
  return {
    check(): Promise<Record<string, string>> {
      if (kept && performance.now() < kept.until) return kept.answer;
      const answer = probe(dataSource).then(
        () => ({}),
        (error: unknown) => ({ postgres: (error as Error).message || String((error as { code?: unknown }).code) }),
      );
      kept = { until: Infinity, answer };
      void answer.then(() => (kept = { until: performance.now() + KEPT_MS, answer }));
      return answer;
    },
  };
}
