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
  type ProblemHeaders,
} from './problems.js';
export { problemContentType, toProblemDocument, toStatusDocument, type ProblemDocument } from './http-form.js';
export {
  decodeStatusDetails,
  encodeStatusDetails,
  isOfInside,
  problemFromStatus,
  type Expose,
  type StatusDetail,
  type StatusDetails,
} from './status-details.js';
