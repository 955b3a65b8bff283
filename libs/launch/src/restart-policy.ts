export interface RestartLimits {
  /** The wait before each restart in turn. When they are used up within `windowMs`, the process is given up. */
  delaysMs: readonly number[];
  /** Deaths longer ago than this no longer count. */
  windowMs: number;
}

/** A process that dies is started again after 1, 2, 4, 8 and 16 s; one that dies a sixth time within 5 minutes is given up. */
export const USUAL_RESTARTS: RestartLimits = { delaysMs: [1_000, 2_000, 4_000, 8_000, 16_000], windowMs: 300_000 };

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
