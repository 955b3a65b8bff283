import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';
import { encodeStatusDetails, grpcCodeName, type GrpcCodeName, type Problem, problems } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { connectType } from './recognize.js';
import { endOfStream } from './envelope.js';

/** An error as the protocol writes it: "Error Codes" and "Error Details" of https://connectrpc.com/docs/protocol. */
export interface ConnectError {
  readonly code: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

/** The HTTP status of each code. */
const statuses: Readonly<Record<Exclude<GrpcCodeName, 'OK'>, number>> = {
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
};

/** @param status bytes of a `google.rpc.Status`, whose details are told as they are */
export function connectError(name: GrpcCodeName, message: string, status: Uint8Array | undefined): ConnectError {
  const details = status ? detailsOf(status) : [];
  return {
    // The protocol spells it otherwise than gRPC.
    code: name === 'CANCELLED' ? 'canceled' : name.toLowerCase(),
    ...(message !== '' && { message }),
    ...(details.length > 0 && { details }),
  };
}

export function statusOfError(code: number): number {
  const name = grpcCodeName(code);
  return name === 'OK' ? 500 : statuses[name];
}

/** A problem as an error of the protocol. */
export function errorOfProblem(problem: Problem): ConnectError {
  const message = problem.message || problems[problem.code].title;
  return connectError(problem.grpc, message, encodeStatusDetails(problem));
}

/** A refusal as the whole answer to a call: of a stream the end is the answer, and its status is 200. */
export function connectProblem(
  { head }: Exchange,
  problem: Problem,
): { status: number; body: Buffer; contentType: string } {
  const error = errorOfProblem(problem);
  const type = connectType(head?.contentType);
  // What could not be understood at all is told by HTTP, as the protocol says of its types and methods.
  const isOfHttp = problem.code === 'UNSUPPORTED_MEDIA_TYPE' || problem.code === 'METHOD_NOT_ALLOWED';
  if (type?.stream && !isOfHttp) {
    return { status: 200, body: endOfStream(error, []), contentType: `application/connect+${type.codec}` };
  }
  const status = isOfHttp ? problem.status : statuses[problem.grpc === 'OK' ? 'UNKNOWN' : problem.grpc];
  return { status, body: Buffer.from(JSON.stringify(error)), contentType: 'application/json' };
}

/** What a client can decode with the type: its full name, and unpadded base64. */
function detailsOf(status: Uint8Array): { type: string; value: string }[] {
  try {
    return anysOf(status).map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
      value: Buffer.from(value).toString('base64').replace(/=+$/, ''),
    }));
  } catch {
    // What a service says of its failure must never cause another.
    return [];
  }
}

function anysOf(status: Uint8Array): Any[] {
  const reader = new BinaryReader(status);
  const anys: Any[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) anys.push(fromBinary(AnySchema, reader.bytes()));
    else reader.skip(wireType, field);
  }
  return anys;
}
