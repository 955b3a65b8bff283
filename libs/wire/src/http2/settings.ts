/** SETTINGS (RFC 9113 §6.5): identifier (16), value (32), repeated. */
import { ConnectionError, ErrorCode } from './errors.js';
import { INITIAL_WINDOW, MAX_WINDOW } from './flow-control.js';
import { INITIAL_MAX_FRAME_SIZE, readUint32, writeUint32 } from './frames.js';

const Id = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
} as const;

export const SETTING_OCTETS = 6;
const MAX_FRAME_SIZE_MAX = 2 ** 24 - 1;

/** What the peer may say. `HEADER_TABLE_SIZE` is not kept: our encoder uses no table. */
export interface Settings {
  maxConcurrentStreams: number;
  initialWindowSize: number;
  maxFrameSize: number;
  maxHeaderListSize: number;
  /** Said by clients only: a server that says 1 breaks the protocol (§6.5.2). */
  enablePush: boolean;
}

/** The values before any SETTINGS frame. */
export function initialSettings(): Settings {
  return {
    maxConcurrentStreams: Infinity,
    initialWindowSize: INITIAL_WINDOW,
    maxFrameSize: INITIAL_MAX_FRAME_SIZE,
    maxHeaderListSize: Infinity,
    enablePush: true,
  };
}

/**
 * Applies a SETTINGS payload in order; unknown identifiers are ignored.
 * @throws ConnectionError for values outside their range.
 */
export function applySettings(settings: Settings, bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; at += SETTING_OCTETS) {
    const value = readUint32(bytes, at + 2);
    switch ((bytes[at]! << 8) | bytes[at + 1]!) {
      case Id.ENABLE_PUSH:
        if (value > 1) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_PUSH is neither 0 nor 1');
        settings.enablePush = value === 1;
        break;
      case Id.MAX_CONCURRENT_STREAMS:
        settings.maxConcurrentStreams = value;
        break;
      case Id.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) {
          throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1');
        }
        settings.initialWindowSize = value;
        break;
      case Id.MAX_FRAME_SIZE:
        if (value < INITIAL_MAX_FRAME_SIZE || value > MAX_FRAME_SIZE_MAX) {
          throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_MAX_FRAME_SIZE is out of range');
        }
        settings.maxFrameSize = value;
        break;
      case Id.MAX_HEADER_LIST_SIZE:
        settings.maxHeaderListSize = value;
        break;
      default:
        break;
    }
  }
}

/** What we say; what is left out keeps the protocol's initial value. */
export interface OwnSettings extends Partial<Settings> {
  readonly headerTableSize?: number;
}

/** The SETTINGS payload that we send. */
export function encodeSettings(ours: OwnSettings): Buffer {
  const pairs: [number, number][] = [];
  if (ours.headerTableSize !== undefined) pairs.push([Id.HEADER_TABLE_SIZE, ours.headerTableSize]);
  if (ours.enablePush === false) pairs.push([Id.ENABLE_PUSH, 0]);
  if (ours.maxConcurrentStreams !== undefined) pairs.push([Id.MAX_CONCURRENT_STREAMS, ours.maxConcurrentStreams]);
  if (ours.initialWindowSize !== undefined) pairs.push([Id.INITIAL_WINDOW_SIZE, ours.initialWindowSize]);
  if (ours.maxFrameSize !== undefined) pairs.push([Id.MAX_FRAME_SIZE, ours.maxFrameSize]);
  if (ours.maxHeaderListSize !== undefined) pairs.push([Id.MAX_HEADER_LIST_SIZE, ours.maxHeaderListSize]);
  const payload = Buffer.alloc(pairs.length * SETTING_OCTETS);
  let at = 0;
  for (const [id, value] of pairs) {
    payload[at + 1] = id;
    at = writeUint32(payload, at + 2, value);
  }
  return payload;
}
