export { grpcCodeName, grpcCodes, type GrpcCodeName } from './grpc-code.js';
export {
  isProblemCode,
  Problem,
  problems,
  toProblem,
  type BlockedBy,
  type Json,
  type ProblemCode,
  type ProblemDetails,
} from './problems.js';
export { problemContentType, toProblemDocument, toStatusDocument, type ProblemDocument } from './http-form.js';
export { decodeStatusDetails, encodeStatusDetails, problemFromStatus, type StatusDetails } from './status-details.js';
