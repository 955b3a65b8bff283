import { performance } from 'node:perf_hooks';
import type { Caller } from '@sluice/identity';
import type { Debit } from '@sluice/limit';
import type { Problem } from '@sluice/problem';
import type { TraceContext } from '@sluice/telemetry';
import type { ConnectionPeer, Field, Fields, FieldSection, FixedFields, MemoryAccount } from '@sluice/wire';
import type { RequestHead } from './preflight/preflight.js';
import type { Route, Routes } from './route/route.js';
import type { Runtime } from './runtime.js';
import type { OpenStream } from './streams/open-stream.js';

/** What the listener hands the body of a request to. */
export interface BodySink {
  /** The octets are the callee's until it returns; what it keeps of them it copies. */
  onData(chunk: Buffer): void;
  onEnd(): void;
}

/**
 * One request and its answer as a protocol carries them. Every listener makes these; nothing above it knows Node's request and response classes.
 *
 * An answer is either `respond` alone, or `begin`, any number of `write`, then `end` or `reset`.
 */
export interface Transport {
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  readonly method: string;
  /** Path and query as they arrived. */
  readonly target: string;
  readonly scheme: 'http' | 'https';
  /** `:scheme` of HTTP/2, as it was written. */
  readonly writtenScheme?: string;
  /** `:authority` of HTTP/2; undefined on HTTP/1.1 and when absent. */
  readonly authority: string | undefined;
  /** The fields that arrived, in order and as they were written, without pseudo-headers. */
  readonly section: FieldSection;
  /** The address of the socket's other end. */
  readonly peerAddress: string;
  /** The socket's other end, and the account of what is held for it. */
  readonly peer: ConnectionPeer;
  /** False when the request certainly has no body. */
  readonly hasBody: boolean;
  /** All of the body has arrived: `readBody` hands it over in one piece, and `onEnd` follows before those octets are taken back. */
  readonly bodyHere: boolean;

  /** Starts the flow of the body; called at most once. Nothing of the body is read before. */
  readBody(sink: BodySink): void;
  pauseBody(): void;
  resumeBody(): void;

  /** `fixed` and `vouched` stand beside `fields`; they are known to be legal. */
  respond(status: number, fields: Fields, body: Uint8Array | undefined, fixed: FixedFields, vouched: Fields): void;
  begin(status: number, fields: Fields, fixed: FixedFields, vouched: Fields): void;
  /** False: the client reads more slowly than we write; `onDrain` follows. */
  write(chunk: Uint8Array): boolean;
  end(trailers?: Fields): void;
  /** Ends an answer that has begun in a way that the client cannot take for a complete one. */
  reset(): void;

  /** Set before the request is handed on. */
  events: TransportEvents | undefined;
}

/** What a transport tells while an answer is made and sent. */
export interface TransportEvents {
  /** After `write` returned false: writing may continue. */
  onDrain(): void;
  /** The client left before the answer had ended. */
  onGone(): void;
}

/** What is done for an exchange elsewhere, as far as the exchange has a say in it. */
export interface Work {
  cancel(): void;
  /** The client reads again. */
  resume(): void;
}

/** What is known about one call. Each stage of the pipeline adds to it. */
export class Exchange implements TransportEvents {
  readonly startedAt = performance.now();
  /** Path without the query. */
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  /** Added by `preflight`. */
  head!: RequestHead;
  trace!: TraceContext;
  /** What the client calls the request, or 32 hexadecimal digits; one field for the answer and the call's metadata. */
  requestIdField: Field = ['x-request-id', ''];
  /** Added by `route`. */
  route!: Route;
  variables: readonly string[] = [];
  /** In milliseconds since the epoch. Added by `route`. */
  deadline = 0;
  /** Added by `authenticate`; undefined on public routes. */
  caller: Caller | undefined;
  /** Whose shares of limits and queues the call takes: a tenant, or what stands for all that nobody has vouched for. Added by `tenant`. */
  tenant = '';
  /** What a call that is not signed in says of its tenant; undefined: nothing. */
  saidTenant: string | undefined;
  /** Header fields of the answer that stages decided on, such as those of limits; each is known to be legal. */
  readonly responseFields: Field[] = [];
  /** What limits debited for the call. */
  debit: Debit | undefined;
  /** Refuses a body that is late, while one is awaited. */
  bodyTime: { stop(): void } | undefined;
  /** The call to an upstream, once there is one; ends with the exchange. */
  work: Work | undefined;
  /** The stream's place, when the call is one; given back when the exchange ends. */
  stream: OpenStream | undefined;
  /** The token's unit of the guard against guesses, while it is not known to be none. */
  guess: Debit | undefined;
  /** Why the call was refused or failed, when it was. */
  problem: Problem | undefined;
  /** The policy in shadow mode that would have refused the call. */
  shadowRefusal: string | undefined;
  /** The HTTP status of the answer, once there is one. */
  status = 0;
  private over = false;
  private ownAccount: MemoryAccount | undefined;

  constructor(
    readonly transport: Transport,
    /** Routes, limits and upstreams as they were when the call arrived; a reload does not change them under it. */
    readonly runtime: Runtime,
  ) {
    runtime.inFlight.calls += 1;
    const { target } = transport;
    const mark = target.indexOf('?');
    this.path = mark === -1 ? target : target.slice(0, mark);
    this.query = mark === -1 ? '' : target.slice(mark + 1);
  }

  /** The answer has ended, or never will. The first call counts. What stages took is given back here. */
  finish(): void {
    if (this.over) return;
    this.over = true;
    this.bodyTime?.stop();
    this.stream?.close();
    const { runtime, ownAccount } = this;
    if (ownAccount !== undefined) runtime.clients.closeCall(ownAccount, this.transport.peer, this.head.clientAddress);
    runtime.inFlight.calls -= 1;
    runtime.limiter.ended(this);
    runtime.log.ended(this);
  }

  /** Counts what is held for the call. */
  get account(): MemoryAccount {
    return (this.ownAccount ??= this.runtime.clients.accountOfCall(this.transport.peer, this.head.clientAddress));
  }

  onDrain(): void {
    this.work?.resume();
  }

  onGone(): void {
    if (this.over) return;
    this.status ||= 499;
    this.finish();
    this.work?.cancel();
  }

  /** What is served to the host that was asked for. */
  get routes(): Routes {
    return this.head.routes ?? this.runtime.routes;
  }

  get requestId(): string {
    return this.requestIdField[1];
  }

  get finished(): boolean {
    return this.over;
  }
}
