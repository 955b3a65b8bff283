import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

/** A position in a distributed trace (W3C Trace Context, https://www.w3.org/TR/trace-context/). */
export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_SPAN = '0'.repeat(16);

/** Parses a `traceparent` field value (section 3.2); undefined when it is not valid, and a new trace begins. */
export function parseTraceparent(value: string | undefined): TraceContext | undefined {
  if (value === undefined || value.length > 512) return undefined;
  const match = TRACEPARENT.exec(value);
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, rest] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string?,
  ];
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (traceId === ZERO_TRACE || spanId === ZERO_SPAN) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

/** Random digits are drawn for many identifiers at once: one draw each costs more than everything else here. */
const POOL_BYTES = 8 * 1024;
let digits = '';
let used = 0;

/** Begins a trace, or a new span in the trace of `parent`. */
export function newTraceContext(parent?: TraceContext): TraceContext {
  return parent
    ? { traceId: parent.traceId, spanId: draw(16), sampled: parent.sampled }
    : { traceId: draw(32), spanId: draw(16), sampled: false };
}

/** So many random hexadecimal digits. */
function draw(count: number): string {
  if (used + count > digits.length) {
    digits = randomBytes(POOL_BYTES).toString('hex');
    used = 0;
  }
  const from = used;
  used += count;
  return digits.slice(from, used);
}

const current = new AsyncLocalStorage<TraceContext>();

/** Runs `work` so that {@link currentTrace} gives `trace` inside it and in everything it awaits. */
export function withTrace<T>(trace: TraceContext, work: () => T): T {
  return current.run(trace, work);
}

export function currentTrace(): TraceContext | undefined {
  return current.getStore();
}
