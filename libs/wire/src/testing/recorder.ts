import type { CallEvents, Outcome, RelayEnd, RelayEvents } from '../client/call.js';
import type { Fields } from '../fields.js';

/** Records what a call tells its caller, and fails on anything after its end. */
export class Recorder implements CallEvents {
  headers: Fields | undefined;
  readonly messages: Buffer[] = [];
  drains = 0;
  ends = 0;
  onMessageHook: (() => void) | undefined;
  private readonly ended = Promise.withResolvers<Outcome>();

  get outcome(): Promise<Outcome> {
    return this.ended.promise;
  }

  onHeaders(fields: Fields): void {
    this.expectRunning();
    this.headers = fields;
  }

  onMessage(message: Buffer): void {
    this.expectRunning();
    this.messages.push(message);
    this.onMessageHook?.();
  }

  onEnd(outcome: Outcome): void {
    this.expectRunning();
    this.ends++;
    this.ended.resolve(outcome);
  }

  onDrain(): void {
    this.drains++;
  }

  private expectRunning(): void {
    if (this.ends > 0) throw new Error('an event after onEnd');
  }
}

/** Records what a relayed stream tells. */
export class RelayRecorder implements RelayEvents {
  status = 0;
  headers: Fields | undefined;
  last = false;
  readonly chunks: Buffer[] = [];
  private readonly ended = Promise.withResolvers<RelayEnd>();

  get end(): Promise<RelayEnd> {
    return this.ended.promise;
  }

  onHeaders(status: number, fields: Fields, last: boolean): void {
    this.status = status;
    this.headers = fields;
    this.last = last;
  }

  onData(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
  }

  onEnd(end: RelayEnd): void {
    this.ended.resolve(end);
  }
}
