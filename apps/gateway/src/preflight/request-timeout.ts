/**
 * How long a client is willing to wait, in milliseconds.
 */

const grpcUnits: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"); undefined when malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  return match ? Math.ceil(Number(match[1]) * grpcUnits[match[2]!]!) : undefined;
}

const requestUnits: Readonly<Record<string, number>> = { '': 1000, ms: 1, s: 1000, m: 60_000 };

/** `X-Request-Timeout`: seconds with an optional fraction, or a number with `ms`, `s` or `m`; undefined when malformed. */
export function parseRequestTimeout(value: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|)$/.exec(value.trim());
  return match ? Math.ceil(Number(match[1]) * requestUnits[match[2]!]!) : undefined;
}
