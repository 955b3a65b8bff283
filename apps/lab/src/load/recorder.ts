import { LatencyHistogram, type LatencySummary } from './histogram.js';
import type { Outcome } from './outcome.js';

export const callKinds = [
  'guest',
  'register',
  'login',
  'refresh',
  'create',
  'message',
  'history',
  'session',
  'delete',
] as const;
export type CallKind = (typeof callKinds)[number];

/** Why a planned call was not sent. */
export const unsentReasons = [
  'no live session',
  'every address rests',
  'the user rests',
  'too many calls under way',
] as const;
export type UnsentReason = (typeof unsentReasons)[number];

/** One call; moments in milliseconds of one clock. */
export interface CallRecord {
  readonly kind: CallKind;
  readonly plannedMs: number;
  readonly sentMs: number;
  readonly firstByteMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
}

export interface Counts {
  planned: number;
  sent: number;
  ok: number;
  refused: number;
  failed: number;
}

/** A slice of the run, for the charts. */
export interface Slice extends Counts {
  /** Milliseconds from the start of the run to the start of the slice. */
  readonly atMs: number;
  readonly refusedBy: Record<string, number>;
  /** Corrected latency of the calls that ended in the slice, in milliseconds. */
  p50: number;
  p95: number;
  p99: number;
}

interface KindRecord {
  readonly counts: Counts;
  readonly corrected: LatencyHistogram;
  readonly uncorrected: LatencyHistogram;
}

/** A call that left this long after its planned moment left late. */
const LATE_MS = 50;
/** Causes and dimensions counted by name at most; the rest is `other`. */
const NAMES_MAX = 50;
/** Characters kept of what a server said. */
const DETAIL_LENGTH_MAX = 200;

const noCounts = (): Counts => ({ planned: 0, sent: 0, ok: 0, refused: 0, failed: 0 });

/**
 * What happened, in memory that does not grow with the number of calls. Latency is of calls that were not refused, from the
 * planned moment (corrected) and from the moment of sending (uncorrected) to the end of the answer.
 */
export class Recorder {
  readonly total = noCounts();
  readonly refusedBy: Record<string, number> = {};
  readonly failures: Record<string, number> = {};
  /** What the server said when a cause was met first. */
  readonly failureDetails: Record<string, string> = {};
  readonly unsent: Record<UnsentReason, number> = Object.fromEntries(
    unsentReasons.map((reason) => [reason, 0]),
  ) as Record<UnsentReason, number>;
  readonly slices: Slice[] = [];
  readonly firstToken = new LatencyHistogram();
  late = 0;
  lateMostMs = 0;
  private readonly kinds = new Map<CallKind, KindRecord>();
  private readonly inSlice = new LatencyHistogram(2);
  private slice: Slice;

  constructor() {
    this.slice = emptySlice(0);
  }

  planned(kind: CallKind): void {
    this.total.planned++;
    this.slice.planned++;
    this.of(kind).counts.planned++;
  }

  unsentBecause(reason: UnsentReason): void {
    this.unsent[reason]++;
  }

  sent(kind: CallKind, plannedMs: number, sentMs: number): void {
    const behind = sentMs - plannedMs;
    if (behind > LATE_MS) this.late++;
    if (behind > this.lateMostMs) this.lateMostMs = behind;
    this.total.sent++;
    this.slice.sent++;
    this.of(kind).counts.sent++;
  }

  ended(call: CallRecord): void {
    const kind = this.of(call.kind);
    const { outcome } = call;
    this.total[outcome.kind]++;
    this.slice[outcome.kind]++;
    kind.counts[outcome.kind]++;
    if (outcome.kind === 'refused') {
      countByName(this.refusedBy, outcome.blockedBy);
      countByName(this.slice.refusedBy, outcome.blockedBy);
      return;
    }
    if (outcome.kind === 'failed') {
      const name = countByName(this.failures, `${call.kind}: ${outcome.cause}`);
      if (outcome.detail !== undefined) this.failureDetails[name] ??= outcome.detail.slice(0, DETAIL_LENGTH_MAX);
    }
    const corrected = call.endedMs - call.plannedMs;
    kind.corrected.record(corrected);
    kind.uncorrected.record(call.endedMs - call.sentMs);
    this.inSlice.record(corrected);
    if (call.kind === 'message' && outcome.kind === 'ok') this.firstToken.record(call.firstByteMs - call.plannedMs);
  }

  /** Ends the current slice and begins the next. */
  cut(nextAtMs: number): Slice {
    const slice = this.slice;
    slice.p50 = this.inSlice.percentile(50);
    slice.p95 = this.inSlice.percentile(95);
    slice.p99 = this.inSlice.percentile(99);
    this.inSlice.reset();
    this.slices.push(slice);
    this.slice = emptySlice(nextAtMs);
    return slice;
  }

  /** Latency over the kinds of call that are named, or all. */
  latency(kinds: readonly CallKind[] = callKinds): { corrected: LatencySummary; uncorrected: LatencySummary } {
    const corrected = new LatencyHistogram();
    const uncorrected = new LatencyHistogram();
    for (const kind of kinds) {
      const record = this.kinds.get(kind);
      if (!record) continue;
      corrected.add(record.corrected);
      uncorrected.add(record.uncorrected);
    }
    return { corrected: corrected.summary(), uncorrected: uncorrected.summary() };
  }

  byKind(): { kind: CallKind; counts: Counts; corrected: LatencySummary; uncorrected: LatencySummary }[] {
    return callKinds.flatMap((kind) => {
      const record = this.kinds.get(kind);
      if (!record) return [];
      const { counts, corrected, uncorrected } = record;
      return [{ kind, counts, corrected: corrected.summary(), uncorrected: uncorrected.summary() }];
    });
  }

  private of(kind: CallKind): KindRecord {
    let record = this.kinds.get(kind);
    if (!record) {
      record = { counts: noCounts(), corrected: new LatencyHistogram(), uncorrected: new LatencyHistogram() };
      this.kinds.set(kind, record);
    }
    return record;
  }
}

function emptySlice(atMs: number): Slice {
  return { atMs, ...noCounts(), refusedBy: {}, p50: 0, p95: 0, p99: 0 };
}

/** Answers are the server's words: a bound keeps a hostile one from filling memory with names. */
function countByName(counts: Record<string, number>, name: string): string {
  const short = name.slice(0, 80);
  const key = Object.hasOwn(counts, short) || Object.keys(counts).length < NAMES_MAX ? short : 'other';
  counts[key] = (counts[key] ?? 0) + 1;
  return key;
}
