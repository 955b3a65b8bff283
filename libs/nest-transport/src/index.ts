export { WireGrpcServer, type WireGrpcServerOptions } from './grpc-server.js';
export { grpcMicroservice, WireGrpc, type WireGrpcOptions } from './wire-grpc.js';
