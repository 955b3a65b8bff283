import { AsyncLocalStorage } from 'node:async_hooks';
import type { TraceContext } from '@sluice/telemetry';
import { Problem } from '@sluice/problem';
import type { Caller, Origin } from './caller.js';

/** One gRPC call while it is served: who asks, until when, and in which trace. */
export interface Call extends Origin {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** In milliseconds since the epoch; undefined without a deadline. */
  readonly deadline: number | undefined;
  /** Fires when the caller leaves or the deadline passes. */
  readonly signal: AbortSignal;
  readonly trace: TraceContext;
}

const calls = new AsyncLocalStorage<Call>();

export function withCall<T>(call: Call, work: () => T): T {
  return calls.run(call, work);
}

/** @throws Error outside a call */
export function currentCall(): Call {
  const call = calls.getStore();
  if (!call) throw new Error('there is no call here');
  return call;
}

/** @throws Problem UNAUTHENTICATED when nobody is signed in */
export function currentCaller(): Caller {
  const { caller } = currentCall();
  if (!caller) throw new Problem('UNAUTHENTICATED', 'Sign in to call this method.');
  return caller;
}
