export type { Field, Fields } from './fields.js';
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
export { Channel } from './client/channel.js';
export type { MethodHandle } from './client/method.js';
export { Status } from './grpc/status.js';
