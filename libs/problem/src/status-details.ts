import { create, fromBinary, fromJson, toBinary, toJson, type JsonObject } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { StructSchema, anyPack, AnySchema, type Any } from '@bufbuild/protobuf/wkt';
import { grpcCodes, grpcCodeName } from './grpc-code.js';
import { isProblemCode, Problem, problems, type ProblemCode, type ProblemDetails } from './problems.js';

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

/** A decoded `google.rpc.Status`. */
export interface StatusDetails {
  readonly code: number;
  readonly message: string;
  /** Details that are not a Sluice problem, as they came. */
  readonly others: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
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
  const reader = new BinaryReader(any.value);
  let reason = '';
  let domain = '';
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) reason = reader.string();
    else if (field === 2) domain = reader.string();
    else reader.skip(wireType, field);
  }
  return domain === DOMAIN && isProblemCode(reason) ? reason : undefined;
}

/**
 * A failed gRPC outcome as a problem.
 *
 * @param message `grpc-message`, which a client sees for every code but those that speak of the server's inside
 * @param details the bytes of `grpc-status-details-bin`, when there were any
 */
export function problemFromStatus(code: number, message: string, details?: Uint8Array): Problem {
  const name = grpcCodeName(code === 0 ? 2 : code);
  const decoded = details && decodeStatusDetails(details);
  if (decoded?.problem && problems[decoded.problem.code].grpc === name) {
    return new Problem(decoded.problem.code, message === problems[decoded.problem.code].title ? '' : message, {
      details: decoded.problem.details,
    });
  }
  const speaksOfInside = name === 'UNKNOWN' || name === 'INTERNAL' || name === 'DATA_LOSS' || name === 'UNAVAILABLE';
  return speaksOfInside ? new Problem(name, '', { cause: message }) : new Problem(nameToCode(name), message);
}

function nameToCode(name: ReturnType<typeof grpcCodeName>): ProblemCode {
  return name === 'OK' ? 'UNKNOWN' : name;
}
