import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks per second of /proc/<pid>/stat: 100 on every Linux that Node runs on (sysconf(_SC_CLK_TCK)). */
const TICK_MICROSECONDS = 10_000;

/** One way of doing the same work, with the processes whose CPU time it costs. */
export interface Contestant {
  readonly name: string;
  /** What is measured: a label and a process id. The first is the one that ratios are about. */
  readonly processes: Readonly<Record<string, number>>;
  /** Does `calls` units of work; what it does must not differ between contestants. */
  run(calls: number): Promise<void>;
}

export interface ContestOptions {
  /** Rounds that count; each contestant runs once in each, so that a busy machine hits all alike. One more warms up. */
  rounds: number;
  calls: number;
}

export interface ContestResult {
  readonly name: string;
  /** Microseconds of CPU time per call, the median of the rounds, by label. */
  readonly cpu: Readonly<Record<string, number>>;
  /** Calls per second, the median of the rounds. Says little on a shared machine. */
  readonly rate: number;
}

/**
 * The processor time that a process has used, in microseconds: of all its threads, by /proc/<pid>/task/<tid>/schedstat (nanoseconds; Linux's
 * scheduler/sched-stats), and by the clock ticks of proc_pid_stat(5), fields 14 and 15, where the kernel does not keep those.
 */
export function cpuMicroseconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((thread) => {
    const [running] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return Number(running);
  });
  const sum = nanoseconds.reduce((all, each) => all + each, 0) / 1000;
  return sum > 0 ? sum : ticks(pid) * TICK_MICROSECONDS;
}

function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Runs the contestants in alternating rounds and gives medians. */
export async function contest(
  contestants: readonly Contestant[],
  { rounds, calls }: ContestOptions,
): Promise<ContestResult[]> {
  const samples = contestants.map(() => ({ cpu: new Map<string, number[]>(), rates: [] as number[] }));
  for (let round = 0; round <= rounds; round++) {
    for (const [index, { processes, run }] of contestants.entries()) {
      const before = Object.values(processes).map(cpuMicroseconds);
      const began = performance.now();
      await run(calls);
      const seconds = (performance.now() - began) / 1000;
      if (round === 0) continue;
      const { cpu, rates } = samples[index]!;
      rates.push(calls / seconds);
      for (const [at, [label, pid]] of Object.entries(processes).entries()) {
        const spent = (cpuMicroseconds(pid) - before[at]!) / calls;
        cpu.set(label, [...(cpu.get(label) ?? []), spent]);
      }
    }
  }
  return contestants.map(({ name }, index) => {
    const { cpu, rates } = samples[index]!;
    const medians = Object.fromEntries([...cpu].map(([label, values]) => [label, median(values)]));
    return { name, cpu: medians, rate: median(rates) };
  });
}

/** A row per contestant: CPU per call of each process, and what share of it the first contestant needs. */
export function contestTable(results: readonly ContestResult[]): string {
  const first = ownCost(results[0]!);
  const rows = results.map((result) => {
    const costs = Object.entries(result.cpu).map(([label, value]) => `${label} ${value.toFixed(1)} µs`);
    const ratio = (first / ownCost(result)).toFixed(2);
    return [result.name, ...costs, `${Math.round(result.rate)}/s`, `ours is ${ratio} of it`];
  });
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('   ')}`.trimEnd())
    .join('\n');
}

function ownCost(result: ContestResult): number {
  return Object.values(result.cpu)[0]!;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}
