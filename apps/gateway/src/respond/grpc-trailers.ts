import { encodeStatusDetails, grpcCodes, problems, type Problem } from '@sluice/problem';
import { encodeGrpcMessage, type Field, type Fields } from '@sluice/wire';

/** `grpc-status`, `grpc-message` and `grpc-status-details-bin` of a problem (gRPC over HTTP/2, "Responses"). */
export function grpcTrailers(problem: Problem): Field[] {
  return [
    ['grpc-status', String(grpcCodes[problem.grpc].number)],
    ['grpc-message', encodeGrpcMessage(problem.message || problems[problem.code].title)],
    ['grpc-status-details-bin', Buffer.from(encodeStatusDetails(problem)).toString('base64')],
  ];
}

/** Trailers as the last frame of a gRPC-Web body: flag 0x80, length, then `name: value` lines (PROTOCOL-WEB.md). */
export function trailerFrame(trailers: Fields): Buffer {
  const text = Buffer.from(trailers.map(([name, value]) => `${name}: ${value}\r\n`).join(''), 'latin1');
  const frame = Buffer.allocUnsafe(5 + text.length);
  frame[0] = 0x80;
  frame.writeUInt32BE(text.length, 1);
  text.copy(frame, 5);
  return frame;
}
