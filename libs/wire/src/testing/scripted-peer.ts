/** A peer whose every byte the test decides. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Field, Fields } from '../fields.js';
import { Decoder } from '../hpack/decoder.js';
import { Flag, FrameReader, FrameType, PREFACE, readUint32, type FrameSink } from '../http2/frames.js';

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
  /** Of a HEADERS frame. */
  readonly fields?: Fields;
  /** Of RST_STREAM and GOAWAY. */
  readonly code?: number;
}

/** One end of a connection: keeps every frame that arrives, and sends what it is given. */
export class PeerConnection implements FrameSink {
  readonly frames: SeenFrame[] = [];
  readonly closed: Promise<void>;
  private readonly decoder = new Decoder();
  private readonly waiting: { matches: (frame: SeenFrame) => boolean; resolve: (frame: SeenFrame) => void }[] = [];
  private prefaceLeft: number;
  private readonly reader = new FrameReader(this, 2 ** 24);

  constructor(
    readonly socket: Socket,
    expectPreface: boolean,
  ) {
    this.prefaceLeft = expectPreface ? PREFACE.length : 0;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      const skip = Math.min(this.prefaceLeft, chunk.length);
      this.prefaceLeft -= skip;
      this.reader.push(chunk.subarray(skip));
    });
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean {
    const payload = Buffer.from(bytes.subarray(start, end));
    let seen: SeenFrame = { type, flags, streamId, payload };
    if (type === FrameType.HEADERS && (flags & Flag.END_HEADERS) !== 0) {
      const fields: Field[] = [];
      this.decoder.decode(payload, 0, payload.length, fields, Infinity);
      seen = { ...seen, fields };
    } else if (type === FrameType.RST_STREAM) seen = { ...seen, code: readUint32(payload, 0) };
    else if (type === FrameType.GOAWAY) seen = { ...seen, code: readUint32(payload, 4) };
    this.frames.push(seen);
    for (const waiter of [...this.waiting]) {
      if (!waiter.matches(seen)) continue;
      this.waiting.splice(this.waiting.indexOf(waiter), 1);
      waiter.resolve(seen);
    }
    return true;
  }

  /** The first frame, past or future, that matches. */
  see(matches: (frame: SeenFrame) => boolean): Promise<SeenFrame> {
    const past = this.frames.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve) => this.waiting.push({ matches, resolve }));
  }

  seeType(type: number, streamId?: number): Promise<SeenFrame> {
    return this.see((frame) => frame.type === type && (streamId === undefined || frame.streamId === streamId));
  }

  send(...bytes: Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(bytes));
  }
}

/** Listens as a server and hands out its connections in order. */
export class ScriptedServer {
  private readonly arrived: PeerConnection[] = [];
  private readonly wanted: ((connection: PeerConnection) => void)[] = [];
  /** Every connection so far. */
  readonly connections: PeerConnection[] = [];

  private constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      const connection = new PeerConnection(socket, true);
      this.connections.push(connection);
      const want = this.wanted.shift();
      if (want === undefined) this.arrived.push(connection);
      else want(connection);
    });
  }

  static async listen(): Promise<ScriptedServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedServer(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  next(): Promise<PeerConnection> {
    const connection = this.arrived.shift();
    if (connection !== undefined) return Promise.resolve(connection);
    return new Promise((resolve) => this.wanted.push(resolve));
  }

  /** Takes no further connection; those that are open stay. */
  stopListening(): void {
    this.server.close();
  }

  async close(): Promise<void> {
    const closed = this.server.listening ? once(this.server, 'close') : undefined;
    for (const { socket } of this.connections) socket.destroy();
    this.server.close();
    await closed;
  }
}
