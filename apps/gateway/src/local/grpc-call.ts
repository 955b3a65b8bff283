import { Problem, toProblem } from '@sluice/problem';
import { type Fields, Timer } from '@sluice/wire';
import type { BodySink, Exchange, Work } from '../exchange.js';
import { grpcTrailers, trailerFrame } from '../respond/grpc-trailers.js';
import { begin, respondProblem } from '../respond/respond.js';
import type { GrpcForm } from '../route/route.js';
import { Base64Decoder, Base64Encoder } from '../transcode/base64.js';

/** What a gRPC method of the gateway itself does with one call. */
export interface OwnCall {
  /** @throws Problem that becomes the status of the call */
  onMessage(message: Buffer): void;
  /** The client has sent its last message. @throws Problem */
  onHalfClose(): void;
  /** The call is over, whatever became of it. */
  onOver?(): void;
}

/** The answers of a call. */
export interface OwnAnswer {
  send(message: Uint8Array): void;
  /** OK, or the status of the problem. */
  end(problem?: Problem): void;
}

/** A gRPC method that the gateway serves itself. */
export type OwnMethod = (answer: OwnAnswer, exchange: Exchange) => OwnCall;

const PREFIX_OCTETS = 5;
/** Questions are names; none is longer. */
const MESSAGE_OCTETS_MAX = 65_536;
const OK: Fields = [['grpc-status', '0']];

/** Serves a call of gRPC or gRPC-Web in the gateway. */
export function serveOwnGrpc(exchange: Exchange, open: OwnMethod): void {
  new OwnGrpcCall(exchange).start(open);
}

class OwnGrpcCall extends Timer implements BodySink, OwnAnswer, Work {
  private readonly form: GrpcForm;
  private readonly decoder: Base64Decoder | undefined;
  private readonly encoder: Base64Encoder | undefined;
  private call: OwnCall | undefined;
  private unread: Buffer = Buffer.alloc(0);
  private begun = false;
  private over = false;

  constructor(private readonly exchange: Exchange) {
    super();
    this.form = exchange.route.form as GrpcForm;
    if (this.form === 'grpc-web-text') {
      this.decoder = new Base64Decoder();
      this.encoder = new Base64Encoder();
    }
  }

  start(open: OwnMethod): void {
    const { exchange } = this;
    this.setTimer(Math.max(0, exchange.deadline - Date.now()));
    exchange.work = this;
    this.call = open(this, exchange);
    if (exchange.transport.hasBody) exchange.transport.readBody(this);
    else this.onEnd();
  }

  onData(chunk: Buffer): void {
    this.guarded(() => {
      const bytes = this.decoder ? this.decoder.push(chunk) : chunk;
      if (bytes === undefined) throw new Problem('MALFORMED_REQUEST', 'The body is not base64 text.');
      this.unread = Buffer.concat([this.unread, bytes]);
      for (let message = this.nextMessage(); message && !this.over; message = this.nextMessage()) {
        this.call!.onMessage(message);
      }
    });
  }

  onEnd(): void {
    this.guarded(() => {
      if (this.unread.length > 0) throw new Problem('MALFORMED_REQUEST', 'The request ended inside a message.');
      this.call!.onHalfClose();
    });
  }

  private nextMessage(): Buffer | undefined {
    const { unread } = this;
    if (unread.length < PREFIX_OCTETS) return undefined;
    if (unread[0] !== 0) throw new Problem('UNIMPLEMENTED', 'This method takes no compressed messages.');
    const length = unread.readUInt32BE(1);
    if (length > MESSAGE_OCTETS_MAX) {
      throw new Problem('PAYLOAD_TOO_LARGE', `A message is larger than ${MESSAGE_OCTETS_MAX} bytes.`);
    }
    if (unread.length < PREFIX_OCTETS + length) return undefined;
    this.unread = unread.subarray(PREFIX_OCTETS + length);
    return unread.subarray(PREFIX_OCTETS, PREFIX_OCTETS + length);
  }

  send(message: Uint8Array): void {
    if (this.over || this.exchange.finished) return;
    const frame = Buffer.allocUnsafe(PREFIX_OCTETS + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, PREFIX_OCTETS);
    this.beginOnce();
    // A client that does not read what it asks for is not asked for more.
    if (!this.exchange.transport.write(this.encoder?.push(frame) ?? frame)) this.exchange.transport.pauseBody();
  }

  end(problem?: Problem): void {
    const { exchange } = this;
    if (this.over) return;
    this.finish();
    if (exchange.finished) return;
    if (problem && !this.begun) return respondProblem(exchange, problem);
    if (problem) exchange.runtime.log.failed(exchange, problem);
    this.beginOnce();
    const trailers = problem ? grpcTrailers(problem) : OK;
    if (this.form === 'grpc') exchange.transport.end(trailers);
    else {
      const frame = trailerFrame(trailers);
      const text = this.encoder && Buffer.concat([this.encoder.end(), Buffer.from(frame.toString('base64'))]);
      exchange.transport.write(text ?? frame);
      exchange.transport.end();
    }
    exchange.finish();
  }

  resume(): void {
    this.exchange.transport.resumeBody();
  }

  cancel(): void {
    if (!this.over) this.finish();
  }

  override onTimeout(): void {
    this.end(new Problem('DEADLINE_EXCEEDED'));
  }

  private beginOnce(): void {
    if (this.begun) return;
    this.begun = true;
    const contentType = this.form === 'grpc' ? 'application/grpc' : `application/${this.form}+proto`;
    begin(this.exchange, 200, [['content-type', contentType]]);
  }

  private finish(): void {
    this.over = true;
    this.clearTimer();
    this.call?.onOver?.();
  }

  private guarded(work: () => void): void {
    if (this.over || this.exchange.finished) return;
    try {
      work();
    } catch (error) {
      this.end(toProblem(error));
    }
  }
}
