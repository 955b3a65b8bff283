import type { Fields } from '../fields.js';
import { Status } from '../grpc/status.js';
import type { HeaderBlock } from '../http2/header-block.js';
import type { Outcome, Relay, RelayEnd, RelayEvents, RelayOptions } from './call.js';
import { ClientCall, type CallOwner } from './client-call.js';

/** A stream relayed as it is: DATA and fields are handed on without a look inside. */
export class RelayCall extends ClientCall implements Relay {
  private relayed: RelayEnd = {};

  constructor(
    owner: CallOwner,
    head: Uint8Array,
    fields: Fields,
    options: RelayOptions,
    private readonly events: RelayEvents,
  ) {
    const { deadline, unlimited = false, waitMs = 0, share = '', account } = options;
    super(owner, head, fields, deadline, false, unlimited, waitMs, share, undefined, account);
  }

  write(bytes: Uint8Array): boolean {
    return this.send([bytes]);
  }

  resume(): void {
    if (!this.paused || this.ended) return;
    this.paused = false;
    this.stream?.resume();
  }

  override onHead(block: HeaderBlock, endStream: boolean): void {
    this.commit();
    this.events.onHeaders(Number(block.pseudo[0]![1]), block.fields, endStream);
  }

  override onData(chunk: Buffer): void {
    this.events.onData(chunk);
  }

  override onEnd(trailers: HeaderBlock | undefined): void {
    if (trailers !== undefined) this.relayed = { trailers: trailers.fields };
    this.settle(RELAYED);
  }

  protected override frame(message: Uint8Array): Uint8Array[] {
    return [message];
  }

  protected override deliverEnd(outcome: Outcome): void {
    this.events.onEnd(outcome === RELAYED ? this.relayed : { failure: outcome });
  }

  protected override deliverDrain(): void {
    this.events.onDrain?.();
  }
}

/** Ended in good order as far as HTTP/2 goes; what the trailers say is the client's to read. */
const RELAYED: Outcome = { code: Status.OK, message: '', trailers: [], unprocessed: false };
