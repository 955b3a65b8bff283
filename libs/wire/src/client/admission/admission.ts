/** Which calls of a channel are sent at once, which wait until one in flight has ended, and which are refused. */
import type { ClientCall } from '../client-call.js';
import { WaitingCalls } from './waiting-calls.js';

export interface AdmissionOptions {
  /** Calls in flight at most. */
  readonly maxConcurrent: number;
  /** Calls that wait at most. */
  readonly maxQueued: number;
}

export class Admission {
  inFlight = 0;
  readonly waiting = new WaitingCalls<ClientCall>();

  constructor(private readonly options: AdmissionOptions) {}

  /** Whether a call that comes now may be sent at once, as far as those are concerned that are in flight or came before it. */
  get open(): boolean {
    return this.waiting.size === 0 && this.inFlight < this.options.maxConcurrent;
  }

  /** As many are in flight as may be. */
  get full(): boolean {
    return this.inFlight >= this.options.maxConcurrent;
  }

  sent(call: ClientCall, now: number): void {
    this.inFlight++;
    call.sentAt = now;
  }

  gaveBack(call: ClientCall): void {
    this.inFlight--;
    call.sentAt = 0;
  }

  /** @returns whether it may wait; false: too many do */
  wait(call: ClientCall, now: number): boolean {
    if (this.waiting.size >= this.options.maxQueued) return false;
    this.waiting.add(call, now);
    return true;
  }

  /** The call that is sent next, if one may be. */
  next(): ClientCall | undefined {
    const { oldest } = this.waiting;
    if (oldest === undefined || this.full) return undefined;
    this.waiting.delete(oldest.call);
    return oldest.call;
  }
}
