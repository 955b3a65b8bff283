import { readFileSync } from 'node:fs';

/** Resident memory of a process on Linux, in MB, by who asked the kernel for it. */
export interface Resident {
  readonly all: number;
  /** What the C library grows by brk: buffers and whatever else is allocated outside V8's heap by the main thread. */
  readonly brk: number;
  /** V8's heap, memory of other threads, and single large allocations. */
  readonly anonymous: number;
  /** Code and libraries. */
  readonly file: number;
}

/** @param pid a process id, or `self` */
export function resident(pid: number | 'self'): Resident {
  const sums = { brk: 0, anonymous: 0, file: 0 };
  let place: keyof typeof sums = 'anonymous';
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    // 7f5e4c000000-7f5e4c021000 rw-p 00000000 00:00 0    [heap]
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$/.exec(line);
    if (mapping) place = mapping[1] === '[heap]' ? 'brk' : mapping[1]!.startsWith('/') ? 'file' : 'anonymous';
    else if (line.startsWith('Rss:')) sums[place] += Number.parseInt(line.slice('Rss:'.length), 10) / 1024;
  }
  return { ...sums, all: sums.brk + sums.anonymous + sums.file };
}

/** One number at one time. */
export interface Sample {
  readonly seconds: number;
  readonly value: number;
}

/** How a number moved: the straight line that fits it best, and how far from its mean it went. */
export interface Trend {
  readonly perMinute: number;
  readonly least: number;
  readonly most: number;
}

/** The trend of the later half of the samples: what is filled once is full by then. */
export function laterTrend(samples: readonly Sample[]): Trend {
  const later = samples.slice(Math.floor(samples.length / 2));
  const mean = (of: (sample: Sample) => number): number =>
    later.reduce((sum, sample) => sum + of(sample), 0) / later.length;
  const meanSeconds = mean(({ seconds }) => seconds);
  const meanValue = mean(({ value }) => value);
  const along = mean(({ seconds, value }) => (seconds - meanSeconds) * (value - meanValue));
  const spread = mean(({ seconds }) => (seconds - meanSeconds) ** 2);
  const values = later.map(({ value }) => value);
  return {
    perMinute: spread === 0 ? 0 : (along / spread) * 60,
    least: Math.min(...values),
    most: Math.max(...values),
  };
}

/** As a sentence; `value` is a number of MB. */
export function trendInWords(what: string, { perMinute, least, most }: Trend): string {
  const slope = `${perMinute < 0 ? '' : '+'}${perMinute.toFixed(1)} MB a minute`;
  return `${what}, later half: ${slope}, between ${least.toFixed(0)} and ${most.toFixed(0)} MB`;
}
