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
export { Channel, type MethodHandle } from './client/channel.js';
export { Status } from './grpc/status.js';
