import { create, fromBinary, fromJson, toBinary, toJson, type JsonObject } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { StructSchema, anyPack, AnySchema, type Any, DurationSchema } from '@bufbuild/protobuf/wkt';
import { grpcCodes, grpcCodeName } from './grpc-code.js';
import { errorInfo } from './http-form.js';
import {
  isProblemCode,
  type Json,
  Problem,
  problems,
  type ProblemCode,
  type ProblemDetails,
  type ProblemHeaders,
} from './problems.js';

/**
 * The binary `google.rpc.Status` that travels in the trailer `grpc-status-details-bin`.
 *
 * A problem is written as two details: a `google.rpc.ErrorInfo` with the code as its reason and the domain
 * `sluice.dev`, which any gRPC client understands, and a `google.protobuf.Struct` with the details as JSON.
 *
 * @see https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto
 * @see https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
 */
const DOMAIN = 'sluice.dev';
const ERROR_INFO = 'type.googleapis.com/google.rpc.ErrorInfo';
const STRUCT = 'type.googleapis.com/google.protobuf.Struct';

export function encodeStatusDetails(problem: Problem): Uint8Array {
  const errorInfo = new BinaryWriter();
  errorInfo.tag(1, WireType.LengthDelimited).string(problem.code);
  errorInfo.tag(2, WireType.LengthDelimited).string(DOMAIN);
  const details: Any[] = [create(AnySchema, { typeUrl: ERROR_INFO, value: errorInfo.finish() })];
  if (Object.keys(problem.details).length > 0) {
    details.push(anyPack(StructSchema, fromJson(StructSchema, problem.details as JsonObject)));
  }
  const status = new BinaryWriter();
  status.tag(1, WireType.Varint).int32(grpcCodes[problem.grpc].number);
  status.tag(2, WireType.LengthDelimited).string(problem.message || problems[problem.code].title);
  for (const detail of details) status.tag(3, WireType.LengthDelimited).bytes(toBinary(AnySchema, detail));
  return status.finish();
}

/** A `google.protobuf.Any` among the details of a status. */
export interface StatusDetail {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** A decoded `google.rpc.Status`. */
export interface StatusDetails {
  readonly code: number;
  readonly message: string;
  /** Details that are not a Sluice problem, as they came. */
  readonly others: readonly StatusDetail[];
  readonly problem?: { readonly code: ProblemCode; readonly details: ProblemDetails };
}

/** Decodes a `google.rpc.Status`; undefined when the bytes are not one, since what an upstream says about its failure must never cause another. */
export function decodeStatusDetails(bytes: Uint8Array): StatusDetails | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}

function decode(bytes: Uint8Array): StatusDetails {
  const reader = new BinaryReader(bytes);
  let code = 0;
  let message = '';
  const anys: Any[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) code = reader.int32();
    else if (field === 2) message = reader.string();
    else if (field === 3) anys.push(fromBinary(AnySchema, reader.bytes()));
    else reader.skip(wireType, field);
  }
  const reason = anys.map(sluiceReason).find((found) => found !== undefined);
  if (reason === undefined) return { code, message, others: anys };
  const struct = anys.find((any) => any.typeUrl === STRUCT);
  return {
    code,
    message,
    others: anys.filter((any) => any !== struct && sluiceReason(any) === undefined),
    problem: {
      code: reason,
      details: struct ? (toJson(StructSchema, fromBinary(StructSchema, struct.value)) as ProblemDetails) : {},
    },
  };
}

/** The problem code in an ErrorInfo of our own domain. */
function sluiceReason(any: Any): ProblemCode | undefined {
  if (any.typeUrl !== ERROR_INFO) return undefined;
  let reason = '';
  let domain = '';
  try {
    const reader = new BinaryReader(any.value);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1) reason = reader.string();
      else if (field === 2) domain = reader.string();
      else reader.skip(wireType, field);
    }
  } catch {
    // Whoever wrote it, it was not us.
    return undefined;
  }
  return domain === DOMAIN && isProblemCode(reason) ? reason : undefined;
}

/**
 * How much a client may see of failures that speak of a service's inside (UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS): their codes,
 * their texts too, or everything.
 */
export type Expose = 'codes' | 'text' | 'all';

const speaksOfInside: ReadonlySet<string> = new Set(['UNKNOWN', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']);

/** Whether a gRPC status speaks of a service's inside. */
export function isOfInside(code: number): boolean {
  return speaksOfInside.has(grpcCodeName(code));
}

export interface FromStatusOptions {
  readonly expose?: Expose;
  /** Gives the JSON of a detail, for `errors` of the problem; without it they are left out. */
  printDetail?(detail: StatusDetail): Json;
  /** As of a {@link Problem}. */
  readonly headers?: ProblemHeaders;
  readonly status?: number;
}

/**
 * A failed gRPC outcome as a problem. A `google.rpc.RetryInfo` becomes `details.retry_after_ms`, unless the service's own details say that.
 *
 * @param grpcMessage decoded; without it the message in the details counts. A client sees it unless it speaks of the service's inside, when it is the cause
 * @param details the bytes of `grpc-status-details-bin`, when there were any
 */
export function problemFromStatus(
  code: number,
  grpcMessage: string,
  details?: Uint8Array,
  { expose = 'codes', printDetail, headers, status }: FromStatusOptions = {},
): Problem {
  const name = grpcCodeName(code === 0 ? 2 : code);
  const decoded = details && decodeStatusDetails(details);
  const message = grpcMessage || (decoded?.message ?? '');
  const others = decoded?.others ?? [];
  const inside = speaksOfInside.has(name);
  const shown = inside && expose !== 'all' ? [] : others.filter((one) => expose === 'all' || !isDebugInfo(one));
  const errors = printDetail ? shown.map(printDetail) : [];
  const wait = retryDelayMs(others);
  const retry: ProblemDetails = wait === undefined ? {} : { retry_after_ms: wait };
  const named = decoded?.problem;
  if (named && problems[named.code].grpc === name) {
    const text = message === problems[named.code].title ? '' : message;
    return new Problem(named.code, text, {
      details: { ...retry, ...named.details },
      errors: errors.length > 0 ? [errorInfo(named), ...errors] : errors,
      headers,
      status,
    });
  }
  const text = inside && expose === 'codes' ? '' : message;
  return new Problem(nameToCode(name), text, {
    details: retry,
    errors,
    headers,
    status,
    ...(inside && { cause: message }),
  });
}

/** Stack traces and the like are of the inside, whatever the code is. */
function isDebugInfo({ typeUrl }: StatusDetail): boolean {
  return typeUrl.endsWith('/google.rpc.DebugInfo');
}

/** What a RetryInfo asks to wait, in milliseconds; undefined without one that says more than nothing. */
function retryDelayMs(details: readonly StatusDetail[]): number | undefined {
  const info = details.find(({ typeUrl }) => typeUrl.endsWith('/google.rpc.RetryInfo'));
  if (!info) return undefined;
  try {
    const reader = new BinaryReader(info.value);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== 1) {
        reader.skip(wireType, field);
        continue;
      }
      const { seconds, nanos } = fromBinary(DurationSchema, reader.bytes());
      const ms = Math.ceil(Number(seconds) * 1000 + nanos / 1e6);
      return ms > 0 ? Math.min(ms, Number.MAX_SAFE_INTEGER) : undefined;
    }
  } catch {
    // A detail that cannot be read says nothing.
  }
  return undefined;
}

function nameToCode(name: ReturnType<typeof grpcCodeName>): ProblemCode {
  return name === 'OK' ? 'UNKNOWN' : name;
}
