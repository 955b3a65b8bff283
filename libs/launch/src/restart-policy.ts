export interface RestartLimits {
  /** The wait before each restart in turn. When they are used up within `windowMs`, the process is given up. */
  delaysMs: readonly number[];
  /** Deaths longer ago than this no longer count. */
  windowMs: number;
}

/**
 * A process that dies is started again after 0.25, 0.5, 1, 2 and then 4 s; one that dies a tenth time within 5 minutes is given up.
 * With the time of a start even the longest wait is shorter than the grace of refresh tokens, so that nobody loses a session by it.
 */
export const USUAL_RESTARTS: RestartLimits = {
  delaysMs: [250, 500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000],
  windowMs: 300_000,
};

/** Counts a death with each call, and tells how long to wait before the restart; undefined: give up. */
export function restartPolicy(
  { delaysMs, windowMs }: RestartLimits,
  now: () => number = Date.now,
): () => number | undefined {
  let deaths: number[] = [];
  return () => {
    const time = now();
    deaths = [...deaths.filter((death) => time - death < windowMs), time];
    return delaysMs[deaths.length - 1];
  };
}
