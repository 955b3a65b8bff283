/** What a peer may make a session do and hold. Whatever exceeds a bound ends the connection (RFC 9113 §10.5). */
import { Allowance, type Rate } from './allowance.js';
import { ConnectionError, ErrorCode } from './errors.js';

/** The bounds of one connection, as its role sets them. */
export interface SessionLimits {
  /** Our SETTINGS_MAX_HEADER_LIST_SIZE, in octets as RFC 9113 §6.5.2 counts. */
  readonly headerListBytes: number;
  /** Octets of one encoded header block, over all its frames. */
  readonly headerBlockBytes: number;
  /** CONTINUATION frames of one block, whatever they hold: empty ones cost work too. */
  readonly maxContinuations: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Octets not taken by the socket after which a peer that keeps asking is dropped. */
  readonly heldBytes: number;
  readonly resets: Rate;
  /** RST_STREAM that the peer makes us send. */
  readonly errors: Rate;
  readonly pings: Rate;
  readonly settings: Rate;
  readonly emptyData: Rate;
  readonly windowUpdates: Rate;
  /** PRIORITY, unknown types, and frames for streams that are gone. */
  readonly idleFrames: Rate;
}

type RatedFlood = 'resets' | 'errors' | 'pings' | 'settings' | 'emptyData' | 'windowUpdates' | 'idleFrames';
export type Flood = RatedFlood | 'continuations' | 'unreadAnswers' | 'windowOverruns';

/** Counts what the peer does against the limits of one connection. */
export class Bounds {
  /** Made with the first event of their kind: most connections have few kinds. */
  private readonly allowances = new Map<RatedFlood, Allowance>();

  constructor(
    readonly limits: SessionLimits,
    /** Told which bound was exceeded, before the connection or stream ends for it. */
    private readonly listener: { onFlood(flood: Flood): void },
  ) {}

  /** Counts an event. @throws ConnectionError ENHANCE_YOUR_CALM when there were too many. */
  count(flood: RatedFlood): void {
    let allowance = this.allowances.get(flood);
    if (allowance === undefined) this.allowances.set(flood, (allowance = new Allowance(this.limits[flood])));
    if (!allowance.take()) this.exceeded(flood, `too many frames of one kind: ${flood}`);
  }

  /** Data was sent: it is answered by WINDOW_UPDATEs, and by PINGs of peers that measure the path. */
  earnByData(): void {
    this.allowances.get('windowUpdates')?.earn(4);
    this.allowances.get('pings')?.earn(1);
  }

  /** A peer that makes us answer and does not read is dropped. @throws ConnectionError ENHANCE_YOUR_CALM */
  requireRead(octetsHeld: number): void {
    if (octetsHeld > this.limits.heldBytes) this.exceeded('unreadAnswers', 'answers are not read');
  }

  /** @throws ConnectionError ENHANCE_YOUR_CALM */
  exceeded(flood: Flood, message: string): never {
    this.listener.onFlood(flood);
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message);
  }
}
