/** Frames as bytes, legal or not, for tests. */
import type { Fields } from '../fields.js';
import { FIELD_OCTETS_EXTRA, writeField } from '../hpack/encoder.js';
import { Flag, FRAME_HEADER_OCTETS, FrameType, writeFrameHeader, writeUint32 } from '../http2/frames.js';

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_OCTETS + payload.length);
  bytes.set(payload, writeFrameHeader(bytes, 0, payload.length, type, flags, streamId));
  return bytes;
}

/** A header block, encoded without a table. */
export function block(fields: Fields): Buffer {
  const room = fields.reduce((sum, [name, value]) => sum + name.length + value.length + FIELD_OCTETS_EXTRA, 0);
  const bytes = Buffer.alloc(room);
  let at = 0;
  for (const [name, value] of fields) at = writeField(bytes, at, name, value);
  return bytes.subarray(0, at);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => writeUint32(bytes, at * 4, value));
  return bytes;
}

export function headers(streamId: number, fields: Fields, endStream = false): Buffer {
  return frame(FrameType.HEADERS, Flag.END_HEADERS | (endStream ? Flag.END_STREAM : 0), streamId, block(fields));
}

export function data(streamId: number, payload: Uint8Array | string, endStream = false): Buffer {
  return frame(FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId, Buffer.from(payload as string));
}

/** SETTINGS with [identifier, value] pairs. */
export function settings(...pairs: (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([id, value], at) => {
    payload.writeUInt16BE(id, at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  });
  return frame(FrameType.SETTINGS, 0, 0, payload);
}

export const settingsAck = frame(FrameType.SETTINGS, Flag.ACK, 0);

export function windowUpdate(streamId: number, increment: number): Buffer {
  return frame(FrameType.WINDOW_UPDATE, 0, streamId, uint32(increment));
}

export function reset(streamId: number, code: number): Buffer {
  return frame(FrameType.RST_STREAM, 0, streamId, uint32(code));
}

export function goaway(lastStreamId: number, code: number, debug = ''): Buffer {
  return frame(FrameType.GOAWAY, 0, 0, Buffer.concat([uint32(lastStreamId, code), Buffer.from(debug)]));
}

export function ping(ack = false): Buffer {
  return frame(FrameType.PING, ack ? Flag.ACK : 0, 0, Buffer.from('12345678'));
}

/** A gRPC message with its prefix. */
export function message(body: Uint8Array | string, compressed = false): Buffer {
  const bytes = Buffer.from(body as string);
  return Buffer.concat([Buffer.from([compressed ? 1 : 0]), uint32(bytes.length), bytes]);
}

export const RESPONSE: Fields = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];
export const OK: Fields = [['grpc-status', '0']];
