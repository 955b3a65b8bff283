import { connect, type Socket } from 'node:net';

/** Frame types of RFC 9113 section 6. */
export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** A table of nothing: servers that allow no more ask for it at the beginning of a block (RFC 7541 sections 4.2 and 6.3). */
const NO_TABLE = Buffer.from([0x20]);

/** Fields as literals without indexing and without Huffman coding (RFC 7541 section 6.2.2), legal or not. */
export function fieldBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat([NO_TABLE, ...fieldLines(fields)]);
}

/** The same in the middle of a block. */
export function fieldLines(fields: readonly (readonly [string, string])[]): Buffer[] {
  return fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** An integer with a prefix of seven bits (RFC 7541 section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

/** A connection of HTTP/2 whose client is a list of bytes. Its SETTINGS are exchanged before it is handed out. */
export class RawHttp2 {
  readonly frames: Frame[] = [];
  closed = false;
  private rest = Buffer.alloc(0);
  private wake: (() => void) | undefined;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.wake?.();
    });
  }

  static open(port: number, preface = true): RawHttp2 {
    return RawHttp2.on(connect({ port, host: '127.0.0.1', noDelay: true }), preface);
  }

  /** On a socket of any kind. */
  static on(socket: Socket, preface = true): RawHttp2 {
    const peer = new RawHttp2(socket);
    if (preface) peer.send(PREFACE, frame(Type.SETTINGS, 0, 0), frame(Type.SETTINGS, 1, 0));
    return peer;
  }

  send(...frames: Buffer[]): void {
    if (!this.closed) this.socket.write(Buffer.concat(frames));
  }

  /** The header block cut into frames that every peer takes. */
  headers(streamId: number, fields: readonly (readonly [string, string])[], endStream: boolean): void {
    const block = fieldBlock(fields);
    const most = 16_384;
    for (let at = 0; at === 0 || at < block.length; at += most) {
      const last = at + most >= block.length ? END_HEADERS : 0;
      const type = at === 0 ? Type.HEADERS : Type.CONTINUATION;
      this.send(frame(type, last | (at === 0 && endStream ? END_STREAM : 0), streamId, block.subarray(at, at + most)));
    }
  }

  /** Waits until a frame satisfies `test`; undefined when the connection ended or stayed without one. */
  async find(test: (frame: Frame) => boolean, patienceMs = 5000): Promise<Frame | undefined> {
    const until = Date.now() + patienceMs;
    for (;;) {
      const found = this.frames.find(test);
      if (found || this.closed || Date.now() >= until) return found;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, until - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The end of a stream: what it carried, or the code that it was reset with, or -1 when the connection ended. */
  async answer(streamId: number, patienceMs?: number): Promise<{ body: string; reset: number | undefined }> {
    const last = await this.find(
      (each) =>
        each.streamId === streamId &&
        (each.type === Type.RST_STREAM || ((each.type === 0 || each.type === 1) && (each.flags & END_STREAM) !== 0)),
      patienceMs,
    );
    const data = this.frames.filter((each) => each.streamId === streamId && each.type === Type.DATA);
    const body = Buffer.concat(data.map((each) => each.payload)).toString();
    if (!last) return { body, reset: -1 };
    return { body, reset: last.type === Type.RST_STREAM ? last.payload.readUInt32BE(0) : undefined };
  }

  async ended(patienceMs = 5000): Promise<boolean> {
    await this.find(() => false, patienceMs);
    return this.closed;
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    while (this.rest.length >= 9) {
      const length = this.rest.readUIntBE(0, 3);
      if (this.rest.length < 9 + length) break;
      this.frames.push({
        type: this.rest[3]!,
        flags: this.rest[4]!,
        streamId: this.rest.readUInt32BE(5) & 0x7fffffff,
        payload: this.rest.subarray(9, 9 + length),
      });
      this.rest = this.rest.subarray(9 + length);
    }
    this.wake?.();
  }
}
