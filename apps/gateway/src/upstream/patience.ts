import type { Exchange } from '../exchange.js';

/** Of the time that a client has asked for, so much may pass before its call is sent. */
const WAIT_SHARE = 0.25;

/** How long a call may wait for an overloaded service although `max_wait` is less: who asks for patience gets it. In milliseconds. */
export function askedWait({ head, deadline }: Exchange): number {
  return head.timeoutMs === undefined ? 0 : WAIT_SHARE * (deadline - Date.now());
}
