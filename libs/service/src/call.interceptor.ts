import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  Optional,
} from '@nestjs/common';
import { Metadata, type ServerUnaryCall } from '@grpc/grpc-js';
import { RpcException } from '@nestjs/microservices';
import { encodeStatusDetails, grpcCodes, Problem, problems, toProblem } from '@sluice/problem';
import { DeadlineError, noteTrouble, unavailable } from '@sluice/storage';
import {
  Counter,
  Histogram,
  type Logger,
  METRICS,
  newTraceContext,
  parseTraceparent,
  type Registry,
  withTrace,
} from '@sluice/telemetry';
import { Observable, throwError } from 'rxjs';
import { catchError, finalize, tap } from 'rxjs/operators';
import { type Access, checkAccess, readAccessRules } from './access.js';
import { type Call, withCall } from './call.js';
import type { originReader } from './caller.js';
import { readTextChecks, type TextCheck } from './text-rules.js';

export const LOGGER = Symbol('logger');
export const ORIGIN = Symbol('origin');
/** Of {@link RefusalRecord}; a service may provide one, exported by its module. */
export const REFUSALS = Symbol('refusals');

/** Hears of calls that were refused to their caller (401, 403) although only some roles may make them. Must not throw. */
export interface RefusalRecord {
  refused(call: Call, problem: Problem): void;
}

type ServerCall = ServerUnaryCall<unknown, unknown>;

/**
 * Stands around every gRPC handler: checks access and the texts of the request, makes {@link Call} current, logs and counts the call,
 * and turns what is thrown into a gRPC status with details.
 */
@Injectable()
export class CallInterceptor implements NestInterceptor {
  private readonly accessRules: ReadonlyMap<string, Access> = readAccessRules();
  private readonly textChecks: ReadonlyMap<string, TextCheck> = readTextChecks();
  private readonly handled: Counter<'method' | 'code'>;
  private readonly duration: Histogram<'method'>;

  constructor(
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(ORIGIN) private readonly originOf: ReturnType<typeof originReader>,
    @Inject(METRICS) metrics: Registry,
    @Optional() @Inject(REFUSALS) private readonly refusals?: RefusalRecord,
  ) {
    const registers = [metrics];
    this.handled = new Counter({
      name: 'grpc_server_handled_total',
      help: 'Calls by method and gRPC status',
      labelNames: ['method', 'code'],
      registers,
    });
    this.duration = new Histogram({
      name: 'grpc_server_handling_seconds',
      help: 'Time from the request to the last message of the answer',
      labelNames: ['method'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'rpc') return next.handle();
    const [request, metadata, serverCall] = context.getArgs<[unknown, Metadata, ServerCall]>();
    const started = performance.now();
    const { call, leave } = this.callOf(serverCall, metadata);
    const ended = (code: string, problem?: Problem) => {
      const seconds = (performance.now() - started) / 1000;
      this.handled.inc({ method: call.path, code });
      this.duration.observe({ method: call.path }, seconds);
      this.log(call, code, seconds, problem);
    };
    return new Observable<unknown>((subscriber) =>
      withTrace(call.trace, () =>
        withCall(call, () =>
          this.guarded(call, request, next)
            .pipe(
              tap({ complete: () => ended('OK') }),
              catchError((thrown: unknown) => {
                const problem = asProblem(thrown);
                ended(problem.grpc, problem);
                if (problem.status === 401 || problem.status === 403) this.recordRefusal(call, problem);
                return throwError(() => statusOf(problem));
              }),
              finalize(leave),
            )
            .subscribe(subscriber),
        ),
      ),
    );
  }

  private recordRefusal(call: Call, problem: Problem): void {
    const { roles = [] } = this.accessRules.get(call.path) ?? {};
    if (roles.length > 0) this.refusals?.refused(call, problem);
  }

  private guarded(call: Call, request: unknown, next: CallHandler): Observable<unknown> {
    try {
      checkAccess(
        this.accessRules.get(call.path) ?? {
          public: false,
          roles: [],
          noGuests: false,
          verifiedEmail: false,
          noKeys: false,
        },
        call.caller,
      );
      this.textChecks.get(call.path)?.(request);
      return next.handle();
    } catch (error) {
      return throwError(() => error);
    }
  }

  private callOf(serverCall: ServerCall, metadata: Metadata): { call: Call; leave: () => void } {
    const gone = new AbortController();
    const onCancelled = () => gone.abort();
    serverCall.on('cancelled', onCancelled);
    const deadline = serverCall.getDeadline();
    const deadlineMs = deadline instanceof Date ? deadline.getTime() : deadline;
    const call: Call = {
      ...this.originOf(metadata, serverCall.getPeer()),
      path: serverCall.getPath(),
      deadline: Number.isFinite(deadlineMs) ? deadlineMs : undefined,
      signal: gone.signal,
      trace: newTraceContext(parseTraceparent(String(metadata.get('traceparent')[0] ?? ''))),
    };
    return { call, leave: () => serverCall.off('cancelled', onCancelled) };
  }

  private log(call: Call, code: string, seconds: number, problem: Problem | undefined): void {
    const fields = {
      trace_id: call.trace.traceId,
      method: call.path,
      code,
      duration_ms: Math.round(seconds * 1e6) / 1000,
      ...(call.caller && { subject: call.caller.subject, tenant: call.caller.tenant }),
      ...(call.caller?.key && { key: call.caller.key }),
      ...(problem && { problem: problem.code, detail: problem.message }),
    };
    const serverFault = problem !== undefined && problem.status >= 500 && problem.code !== 'DEADLINE_EXCEEDED';
    if (serverFault) this.logger.error({ ...fields, err: problem.cause }, 'call failed');
    else this.logger[problem?.status === 429 ? 'warn' : 'info'](fields, 'call');
  }
}

/** Whatever a handler throws as a problem: what the database says of time and reach, and everything else. */
export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof DeadlineError) {
    return new Problem('DEADLINE_EXCEEDED', 'The deadline passed before the work was done.', { cause: thrown });
  }
  const notNow = unavailable(thrown);
  if (notNow !== undefined) {
    noteTrouble(thrown);
    return new Problem('UNAVAILABLE', notNow.detail, {
      details: { retry_after_ms: 1000 },
      cause: thrown,
    });
  }
  return toProblem(thrown);
}

/** The error that Nest's gRPC server turns into trailers. */
function statusOf(problem: Problem): RpcException {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(encodeStatusDetails(problem)));
  const details = problem.message || problems[problem.code].title;
  return new RpcException({ code: grpcCodes[problem.grpc].number, details, message: details, metadata });
}
