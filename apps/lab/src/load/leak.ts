/** A reading of a process's resident memory. */
export interface MemorySample {
  readonly atMs: number;
  readonly bytes: number;
}

export interface LeakVerdict {
  /** Growth per hour after the warm-up, and the bounds of its 95 % confidence interval; in bytes. */
  readonly bytesPerHour: number;
  readonly bytesPerHourLow: number;
  readonly bytesPerHourHigh: number;
  /** What the process held on average after the warm-up. */
  readonly meanBytes: number;
  readonly blocks: number;
  /** `unknown`: too few readings; `too short`: a slope, but over too short a time to tell a leak from caches that fill. */
  readonly verdict: 'steady' | 'grows' | 'too short' | 'unknown';
}

/** The share of the run that is warm-up: caches fill and the collector finds its size. */
const WARM_UP_SHARE = 0.3;
const BLOCKS = 20;
const BLOCKS_MIN = 8;
/** Readings span a little less than the run. */
const SPAN_SHARE = 0.95;
/** Growth that is certain but slower than this share of the memory held, per hour, is not called a leak. */
const TOLERATED_PER_HOUR = 0.03;
const HOUR_MS = 3_600_000;
/** What grows for less than this need not go on growing: a process of Node fills its heap for most of its first hour. */
export const JUDGED_FROM_MS = HOUR_MS;

/**
 * Whether resident memory grows: the least-squares slope over the readings after the warm-up, with a t interval. It has to grow
 * with certainty, and still in the second half: a heap that takes a step and then stays, or that fills more and more slowly, is no leak.
 *
 * Readings next to each other are alike (the collector's saw-tooth is longer than the time between two), which would make the
 * interval too narrow; so they are first averaged into at most 20 blocks.
 */
export function judgeLeak(samples: readonly MemorySample[]): LeakVerdict {
  const first = samples[0]?.atMs ?? 0;
  const last = samples.at(-1)?.atMs ?? 0;
  const steady = samples.filter(({ atMs }) => atMs >= first + (last - first) * WARM_UP_SHARE);
  const blocks = blockMeans(steady, Math.min(BLOCKS, Math.floor(steady.length / 2)));
  const meanBytes = blocks.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, blocks.length);
  if (blocks.length < BLOCKS_MIN) {
    const nothing = { bytesPerHour: 0, bytesPerHourLow: 0, bytesPerHourHigh: 0 };
    return { ...nothing, meanBytes, blocks: blocks.length, verdict: 'unknown' };
  }
  const { slope, standardError } = leastSquares(blocks);
  const margin = studentT95(blocks.length - 2) * standardError;
  const low = (slope - margin) * HOUR_MS;
  const lately = leastSquares(blocks.slice(blocks.length >> 1)).slope * HOUR_MS;
  const tolerated = TOLERATED_PER_HOUR * meanBytes;
  return {
    bytesPerHour: slope * HOUR_MS,
    bytesPerHourLow: low,
    bytesPerHourHigh: (slope + margin) * HOUR_MS,
    meanBytes,
    blocks: blocks.length,
    verdict:
      last - first < JUDGED_FROM_MS * SPAN_SHARE
        ? 'too short'
        : low > tolerated && lately > tolerated
          ? 'grows'
          : 'steady',
  };
}

function blockMeans(samples: readonly MemorySample[], count: number): MemorySample[] {
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * samples.length) / count);
    const block = samples.slice(from, Math.floor(((index + 1) * samples.length) / count));
    const mean = (pick: (sample: MemorySample) => number) =>
      block.reduce((sum, sample) => sum + pick(sample), 0) / block.length;
    return { atMs: mean(({ atMs }) => atMs), bytes: mean(({ bytes }) => bytes) };
  });
}

function leastSquares(points: readonly MemorySample[]): { slope: number; standardError: number } {
  const count = points.length;
  const meanX = points.reduce((sum, { atMs }) => sum + atMs, 0) / count;
  const meanY = points.reduce((sum, { bytes }) => sum + bytes, 0) / count;
  let sxx = 0;
  let sxy = 0;
  for (const { atMs, bytes } of points) {
    sxx += (atMs - meanX) ** 2;
    sxy += (atMs - meanX) * (bytes - meanY);
  }
  const slope = sxx === 0 ? 0 : sxy / sxx;
  let residual = 0;
  for (const { atMs, bytes } of points) residual += (bytes - meanY - slope * (atMs - meanX)) ** 2;
  return { slope, standardError: sxx === 0 ? 0 : Math.sqrt(residual / (count - 2) / sxx) };
}

/** Two-sided 95 % quantiles of Student's t for 6 to 18 degrees of freedom, the ones that 8 to 20 blocks have. */
const T95 = [2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101];

function studentT95(degrees: number): number {
  return T95[Math.min(degrees, 18) - 6]!;
}
