/** What the header of each frame type must say (RFC 9113 §6): a stream or none, and how many octets of payload. */
import { ConnectionError, ErrorCode, StreamError } from './errors.js';
import { Flag, FrameType } from './frames.js';
import { SETTING_OCTETS } from './settings.js';

/** @throws ConnectionError or StreamError, as the frame's section classes it. */
export function requireLayout(type: number, flags: number, streamId: number, octets: number): void {
  switch (type) {
    case FrameType.DATA:
    case FrameType.HEADERS:
    case FrameType.CONTINUATION:
      return requireStream(streamId);
    case FrameType.PRIORITY:
      requireStream(streamId);
      if (octets !== 5) throw new StreamError(ErrorCode.FRAME_SIZE_ERROR, 'PRIORITY is not 5 octets');
      return;
    case FrameType.RST_STREAM:
      requireStream(streamId);
      return requireOctets(octets === 4, 'RST_STREAM is not 4 octets');
    case FrameType.SETTINGS:
      requireConnection(streamId);
      if ((flags & Flag.ACK) !== 0) return requireOctets(octets === 0, 'SETTINGS with ACK is not empty');
      return requireOctets(octets % SETTING_OCTETS === 0, 'SETTINGS is not a multiple of 6 octets');
    case FrameType.PING:
      requireConnection(streamId);
      return requireOctets(octets === 8, 'PING is not 8 octets');
    case FrameType.GOAWAY:
      requireConnection(streamId);
      return requireOctets(octets >= 8, 'GOAWAY is shorter than 8 octets');
    case FrameType.WINDOW_UPDATE:
      return requireOctets(octets === 4, 'WINDOW_UPDATE is not 4 octets');
    default:
  }
}

/** Octets of padding at a padded frame's end; the octet that says so stands at `start` (§6.1). */
export function paddingOf(bytes: Uint8Array, start: number, end: number): number {
  requireOctets(start < end, 'a padded frame without its padding length');
  const padding = bytes[start]!;
  if (padding >= end - start) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'more padding than payload');
  return padding;
}

function requireStream(streamId: number): void {
  if (streamId === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame of a stream on stream 0');
}

function requireConnection(streamId: number): void {
  if (streamId !== 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame of the connection on a stream');
}

function requireOctets(legal: boolean, message: string): void {
  if (!legal) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message);
}
