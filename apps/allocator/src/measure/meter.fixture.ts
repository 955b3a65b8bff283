/** Calls a contestant and tells how fast it was, and what it cost. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Contestant } from './contestants.fixture.ts';

const TICKS_PER_SECOND = 100;

export interface Measured {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU microseconds per call: of this process, and of all of Postgres. */
  readonly ownCpu: number;
  readonly postgresCpu: number;
  /** Processors that other programs kept busy meanwhile. */
  readonly others: number;
}

/** CPU seconds of the whole machine so far: the first line of /proc/stat, without what was idle (proc_stat(5)). */
function machineCpu(): number {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split(/\s+/, 8)
    .slice(1)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq!) / TICKS_PER_SECOND;
}

/** CPU seconds of a process and its children so far. */
export function treeCpu(pid: number): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // After the name in parentheses: state, parent, …, user and system time, the same of ended children (proc(5), fields 3, 4, 14 to 17).
      const text = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ended = Number(entry) === pid ? Number(fields[13]) + Number(fields[14]) : 0;
      if (Number(entry) === pid || Number(fields[1]) === pid) ticks += Number(fields[11]) + Number(fields[12]) + ended;
    } catch {
      // It has ended since.
    }
  }
  return ticks / TICKS_PER_SECOND;
}

export async function measure(
  contestant: Contestant,
  postgresPid: number,
  inFlight: number,
  calls: number,
): Promise<Measured> {
  const latencies: number[] = [];
  let started = 0;
  const caller = async () => {
    while (started < calls) {
      started++;
      const from = performance.now();
      await contestant.allocate();
      latencies.push(performance.now() - from);
    }
  };
  const own = process.cpuUsage();
  const theirs = treeCpu(postgresPid);
  const all = machineCpu();
  const from = performance.now();
  await Promise.all(Array.from({ length: inFlight }, caller));
  const seconds = (performance.now() - from) / 1000;
  const { user, system } = process.cpuUsage(own);
  const postgres = treeCpu(postgresPid) - theirs;
  const others = machineCpu() - all - postgres - (user + system) / 1e6;
  latencies.sort((one, other) => one - other);
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] as number;
  return {
    rate: latencies.length / seconds,
    p50: at(0.5),
    p99: at(0.99),
    ownCpu: (user + system) / latencies.length,
    postgresCpu: (postgres * 1e6) / latencies.length,
    others: Math.max(0, others / seconds),
  };
}

export function median(all: readonly Measured[]): Measured {
  const of = (key: keyof Measured) =>
    all.map((one) => one[key]).toSorted((one, other) => one - other)[all.length >> 1] as number;
  return {
    rate: of('rate'),
    p50: of('p50'),
    p99: of('p99'),
    ownCpu: of('ownCpu'),
    postgresCpu: of('postgresCpu'),
    others: of('others'),
  };
}

/** The rounds in which other programs disturbed least, by the contestant that they disturbed most. */
export function quietest(rounds: readonly (readonly Measured[])[], count: number): readonly (readonly Measured[])[] {
  const disturbance = (round: readonly Measured[]) => Math.max(...round.map(({ others }) => others));
  return rounds.toSorted((one, other) => disturbance(one) - disturbance(other)).slice(0, count);
}

export function print(name: string, { rate, p50, p99, ownCpu, postgresCpu, others }: Measured): void {
  console.log(
    `${name.padEnd(44)} ${rate.toFixed(0).padStart(7)}/s   p50 ${p50.toFixed(2).padStart(7)} ms   p99 ${p99.toFixed(2).padStart(7)} ms` +
      `   CPU per call: node ${ownCpu.toFixed(0).padStart(4)} µs, Postgres ${postgresCpu.toFixed(0).padStart(4)} µs   others ${others.toFixed(2)}`,
  );
}
