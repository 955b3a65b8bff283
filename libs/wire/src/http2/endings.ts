import { ErrorCode } from './errors.js';

/** The error codes of RFC 9113 §7 by their numbers, then one name for all others, which a peer may make up. */
export const endingCodes: readonly string[] = [...Object.keys(ErrorCode), 'other'];

const OTHER = endingCodes.length - 1;
const none = () => endingCodes.map(() => 0);

/** RST_STREAM and GOAWAY so far, each by the number of its code in {@link endingCodes}. */
export class Endings {
  readonly resetsSent = none();
  readonly resetsReceived = none();
  readonly goawaysSent = none();
  readonly goawaysReceived = none();
}

export function countCode(counts: number[], code: number): void {
  counts[code < OTHER ? code : OTHER]!++;
}
