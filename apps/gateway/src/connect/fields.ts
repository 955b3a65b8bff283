import { grpcCodeName, isOfInside, Problem, problemFromStatus } from '@sluice/problem';
import type { Field, Fields, Outcome } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { ownFailure, timeIsOver } from '../transcode/problem.js';
import { gatewaysOwn } from '../upstream/answer-fields.js';
import type { Upstream } from '../upstream/upstream.js';
import { type ConnectError, connectError, errorOfProblem, statusOfError } from './error.js';

/**
 * The metadata of a service that go on to a Connect client: all but what frames a message or is gRPC's own.
 *
 * @param kept the only names that go on; undefined: there is no such bound
 */
export function passedOn(metadata: Fields, kept?: ReadonlySet<string>): Field[] {
  return metadata.filter(
    ([name]) => !gatewaysOwn.has(name) && !name.startsWith('grpc-') && name !== 'server' && (!kept || kept.has(name)),
  ) as Field[];
}

/** Trailers of a call that answers once are header fields with a prefix. */
export function asTrailers(trailers: Fields, kept?: ReadonlySet<string>): Field[] {
  return passedOn(trailers, kept).map(([name, value]): Field => [`trailer-${name}`, value]);
}

/** How a failed call is told: by a problem of the gateway's, or as the service said it. */
export type Failure =
  | { readonly kind: 'problem'; readonly problem: Problem }
  | {
      readonly kind: 'error';
      readonly error: ConnectError;
      readonly status: number;
      readonly logged: Problem;
      /** What of its metadata goes on, as `passedOn` takes it. */
      readonly kept: ReadonlySet<string> | undefined;
    };

/** As gRPC clients are told: what a service says goes on as it is, but for what `errors.expose` keeps back. */
export function failureOf(outcome: Outcome, exchange: Exchange, upstream: Upstream): Failure {
  const { code, message, details, trailers } = outcome;
  const late = timeIsOver(code, exchange.deadline, message);
  const own = ownFailure(outcome) ?? late ?? (trailers.length === 0 ? problemFromStatus(code, message) : undefined);
  if (own) return { kind: 'problem', problem: own };
  const expose = upstream.expose.grpc;
  const logged = problemFromStatus(code, message, details, { expose });
  const inside = isOfInside(code);
  if (inside && expose === 'codes') return { kind: 'problem', problem: logged };
  const inWords = inside && expose !== 'all';
  const error = connectError(grpcCodeName(code), message, inWords ? undefined : details);
  const kept = inWords ? upstream.passed.ofFailures : undefined;
  return { kind: 'error', error, status: statusOfError(code), logged, kept };
}

/** What ends a stream: a problem of the gateway's has nothing of what the service said. */
export function endingOf(
  failure: Failure,
  trailers: Fields,
): { error: ConnectError; logged: Problem; trailers: Fields } {
  if (failure.kind === 'problem') {
    return { error: errorOfProblem(failure.problem), logged: failure.problem, trailers: [] };
  }
  const { error, logged, kept } = failure;
  return { error, logged, trailers: passedOn(trailers, kept) };
}
