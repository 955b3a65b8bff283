/** A call that waits, between the one of its line that came before it and the one that came after. */
export interface WaitingCall<T> {
  readonly call: T;
  /** Since when, as `Date.now()` counts. */
  readonly since: number;
  readonly line: Line<T>;
  older: WaitingCall<T> | undefined;
  newer: WaitingCall<T> | undefined;
}

/** Calls of one share in the order in which they came; taken from either end, and out of the middle when one ends while it waits. */
export class Line<T> {
  oldest: WaitingCall<T> | undefined;
  newest: WaitingCall<T> | undefined;
  size = 0;
  /** A call of this line is in flight beside those that the limit counts. */
  hasBeside = false;
  /** It has lasted longer than a burst does. */
  standing = false;
  /** Places that were given while it stood. */
  places = 0;
  /** When it began, and when it was last empty. */
  beganAt = 0;
  emptyAt = 0;
}

/** Lines that are kept: those in which calls wait, and what is known of others. Further shares wait in one line. */
const LINES_MAX = 256;

/** Calls that wait, in lines that take turns: whoever sends many waits behind the own ones. */
export class WaitingCalls<T> {
  size = 0;
  /** In which calls wait: first the line whose turn it is. */
  readonly busy = new Set<Line<T>>();
  private readonly lines = new Map<string, Line<T>>();
  private readonly byCall = new Map<T, WaitingCall<T>>();

  /** Where a call of the share waits, or would. */
  lineOf(share: string): Line<T> {
    let line = this.lines.get(share);
    if (line !== undefined) return line;
    if (this.lines.size >= LINES_MAX) {
      for (const [name, { size, hasBeside }] of this.lines) if (size === 0 && !hasBeside) this.lines.delete(name);
      if (this.lines.size >= LINES_MAX && share !== '') return this.lineOf('');
    }
    this.lines.set(share, (line = new Line<T>()));
    return line;
  }

  /** The line with the most calls; undefined when none waits. */
  get longest(): Line<T> | undefined {
    let longest: Line<T> | undefined;
    for (const line of this.busy) if (longest === undefined || line.size > longest.size) longest = line;
    return longest;
  }

  add(call: T, line: Line<T>, now: number): void {
    const waiting: WaitingCall<T> = { call, since: now, line, older: line.newest, newer: undefined };
    if (line.newest === undefined) line.oldest = waiting;
    else line.newest.newer = waiting;
    line.newest = waiting;
    this.byCall.set(call, waiting);
    this.size++;
    if (line.size++ === 0) this.busy.add(line);
  }

  /** @returns the line that it waited in; undefined: it did not wait */
  delete(call: T): Line<T> | undefined {
    const waiting = this.byCall.get(call);
    if (waiting === undefined) return undefined;
    this.byCall.delete(call);
    const { line, older, newer } = waiting;
    if (older === undefined) line.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) line.newest = older;
    else newer.older = older;
    this.size--;
    if (--line.size === 0) this.busy.delete(line);
    return line;
  }

  /** The line has had its turn. */
  turned(line: Line<T>): void {
    if (this.busy.delete(line)) this.busy.add(line);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.byCall.keys();
  }
}
