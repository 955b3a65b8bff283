import type { Fields } from '../fields.js';
import type { Call, CallEvents, CallOptions, Relay, RelayEvents, RelayOptions } from './call.js';
import type { ChannelOptions, ChannelState, ChannelStats } from './channel-options.js';

/** A method's header fields, encoded once. Made by `Channel.method`, good for that channel only. */
export interface MethodHandle {
  readonly path: string;
}

/** Connections to every address of a target, and the calls on them. */
export class Channel {
  constructor(
    readonly target: string,
    readonly options: ChannelOptions = {},
  ) {}

  /** Encodes the header fields of a method, such as `/sluice.user.v1.Users/Get`, once for all its calls. */
  method(path: string): MethodHandle {
    return { path };
  }

  /** Starts a call of any kind; messages follow by `write`. */
  start(_method: MethodHandle, _metadata: Fields, _options: CallOptions, _events: CallEvents): Call {
    throw new Error('wire: the channel is not connected');
  }

  /** A call with one request message; HEADERS and DATA leave in one write. */
  unary(
    _method: MethodHandle,
    _metadata: Fields,
    _message: Uint8Array,
    _options: CallOptions,
    _events: CallEvents,
  ): Call {
    throw new Error('wire: the channel is not connected');
  }

  /** A stream relayed as it is. `fields` must hold `content-type` and whatever of `grpc-encoding`, `grpc-accept-encoding` applies. */
  openStream(_method: MethodHandle, _fields: Fields, _options: RelayOptions, _events: RelayEvents): Relay {
    throw new Error('wire: the channel is not connected');
  }

  get state(): ChannelState {
    return 'idle';
  }

  get stats(): ChannelStats {
    throw new Error('wire: the channel is not connected');
  }

  /** Refuses new calls, lets running ones finish for `graceMs`, then cancels them. Resolves when every socket is closed. */
  async close(_graceMs: number): Promise<void> {}
}
