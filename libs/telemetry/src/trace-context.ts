import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

/** A position in a distributed trace (W3C Trace Context, https://www.w3.org/TR/trace-context/). */
export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** All of it as text, when that is at hand. */
  readonly traceparent?: string | undefined;
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

/** The value of a `traceparent` field (section 3.2). */
export function formatTraceparent({ traceId, spanId, sampled, traceparent }: TraceContext): string {
  return traceparent ?? `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

/** Traces are drawn many at a time, as text: one draw each costs more than everything else here. */
const DRAWN = 256;
const TRACE_BYTES = 24;
const TEXT_LENGTH = '00-'.length + 32 + '-'.length + 16 + '-00'.length;
let drawn = '';
let used = 0;

/** Begins a trace, or a new span in the trace of `parent`. */
export function newTraceContext(parent?: TraceContext): TraceContext {
  if (used === drawn.length) {
    const digits = randomBytes(DRAWN * TRACE_BYTES).toString('hex');
    drawn = digits.replace(/(.{32})(.{16})/g, '00-$1-$2-00');
    used = 0;
  }
  const traceparent = drawn.slice(used, (used += TEXT_LENGTH));
  const spanId = traceparent.slice(36, 52);
  return parent
    ? { traceId: parent.traceId, spanId, sampled: parent.sampled, traceparent: undefined }
    : { traceId: traceparent.slice(3, 35), spanId, sampled: false, traceparent };
}

const current = new AsyncLocalStorage<TraceContext>();

/** Runs `work` so that {@link currentTrace} gives `trace` inside it and in everything it awaits. */
export function withTrace<T>(trace: TraceContext, work: () => T): T {
  return current.run(trace, work);
}

export function currentTrace(): TraceContext | undefined {
  return current.getStore();
}
