export type { Field, Fields, FieldSection } from './fields.js';
export { FixedFields } from './fixed-fields.js';
export type {
  Call,
  CallEvents,
  CallOptions,
  Outcome,
  Relay,
  RelayEnd,
  RelayEvents,
  RelayOptions,
} from './client/call.js';
export type { ChannelOptions, ChannelState, ChannelStats } from './client/channel-options.js';
export { parseTarget, TargetError } from './client/address.js';
export { Channel } from './client/channel.js';
export type { MethodHandle } from './client/method.js';
export { encodeMessage as encodeGrpcMessage, outcomeOfTrailers } from './grpc/outcome.js';
export { Status } from './grpc/status.js';
export { endingCodes, type Endings } from './http2/endings.js';
export { ErrorCode } from './http2/errors.js';
export { MemoryAccount, unbounded } from './memory/account.js';
export { Holding } from './memory/holding.js';
export { SharedMemory } from './memory/shared-memory.js';
export type { ConnectionPeer, Handshake } from './sockets/peer.js';
export { messageMemory } from './sockets/page-pool.js';
export { Timer } from './timers/wheel.js';
export { PREFACE } from './http2/frames.js';
export type { ServerConnection } from './server/server-connection.js';
export { Http2Server } from './server/server.js';
export type { Http2ServerCounters, Http2ServerOptions } from './server/server-options.js';
export type { RequestEvents, ServerStream } from './server/server-stream.js';
export { joinCookies } from './server/request-rules.js';
export { GrpcServerCall, type GrpcServerEvents, type GrpcServerOptions } from './server/grpc-server-call.js';
export type { Http1Connection } from './http1/connection.js';
export { Http1Server } from './http1/server.js';
export type { Http1Fault } from './http1/fault.js';
export type { Http1Handler } from './http1/http1-options.js';
export type { Http1Request } from './http1/request.js';
