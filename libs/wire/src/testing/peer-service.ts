/** What peers call on our server, and the same on theirs: `/peer.Peer/…` by method. */
import { Status } from '../grpc/status.js';
import { GrpcServerCall, type GrpcServerEvents } from '../server/grpc-server-call.js';
import type { ServerStream } from '../server/server-stream.js';
import type { Field } from '../fields.js';

const REPEATS = 1_000;
const SLOW_MESSAGES = 10;
const SLOW_MS = 20;

/** Calls that ended without being answered: what their handlers were told. */
export class PeerService {
  readonly cancelled: string[] = [];

  constructor(private readonly compression?: 'gzip') {}

  readonly serve = (stream: ServerStream): void => {
    const call = GrpcServerCall.accept(stream, { maxMessageBytes: 4 * 2 ** 20, compression: this.compression });
    if (call === undefined) return;
    const given = (name: string): Field[] => stream.fields.filter(([at]) => at === name);
    const headers = given('x-echo');
    if (headers.length > 0) call.sendHeaders(headers);
    const ok = (): void => call.sendStatus(Status.OK, '', given('x-echo-bin'));
    const onCancel = (reason: string): void => void this.cancelled.push(reason);
    call.events = this.events(call, ok, onCancel);
  };

  private events(call: GrpcServerCall, ok: () => void, onCancel: (reason: string) => void): GrpcServerEvents {
    const ignore = { onMessage: (): void => {}, onHalfClose: (): void => {}, onCancel };
    switch (call.path) {
      case '/peer.Peer/Echo':
        return {
          onMessage: (message) => {
            if (!call.sendMessage(message)) call.pause();
          },
          onHalfClose: ok,
          onCancel,
          onDrain: () => call.resume(),
        };
      case '/peer.Peer/Fail':
        call.sendStatus(Status.NOT_FOUND, 'nothing here: ☃ 100%');
        return ignore;
      case '/peer.Peer/Count': {
        let count = 0;
        const onHalfClose = (): void => {
          call.sendMessage(Buffer.from(String(count)));
          ok();
        };
        return { onMessage: () => void count++, onHalfClose, onCancel };
      }
      case '/peer.Peer/Repeat': {
        let message = Buffer.alloc(0);
        let left = REPEATS;
        const send = (): void => {
          while (left > 0) {
            left--;
            if (!call.sendMessage(message)) return;
          }
          ok();
        };
        return {
          onMessage: (received) => void (message = Buffer.from(received)),
          onHalfClose: send,
          onCancel,
          onDrain: send,
        };
      }
      case '/peer.Peer/Slow': {
        let left = SLOW_MESSAGES;
        const send = (): void => {
          call.sendMessage(Buffer.from('slow'));
          if (--left === 0) ok();
          else setTimeout(send, SLOW_MS);
        };
        return { ...ignore, onHalfClose: send };
      }
      case '/peer.Peer/Wait':
        return ignore;
      default:
        call.sendStatus(Status.UNIMPLEMENTED, call.path);
        return ignore;
    }
  }
}
