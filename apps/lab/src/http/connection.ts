import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AnswerFault, AnswerParser, type AnswerReader } from './answer-parser.js';

/** Where connections go. */
export interface Origin {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** The value of the `host` field. */
  readonly authority: string;
}

export function originOf(url: string): Origin {
  const { protocol, hostname, port, host } = new URL(url);
  const secure = protocol === 'https:';
  return {
    secure,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || (secure ? 443 : 80),
    authority: host,
  };
}

/** All connections read into one buffer: what has come is used before anything else is read. */
const bytesRead = Buffer.allocUnsafeSlow(65_536);

const CONNECT_MS = 10_000;
/** An idle connection closes after this, unless the server said how long it keeps it. */
const IDLE_MS = 4_000;
/** Closes this much before the server would. */
const IDLE_MARGIN_MS = 1_000;

/** One connection, that carries one call at a time. */
export class Connection {
  private readonly socket: Socket;
  private readonly parser = new AnswerParser();
  private reader: AnswerReader | undefined;
  private stage: 'connecting' | 'idle' | 'head' | 'body' | 'closed' = 'connecting';
  /** The last moment at which anything had happened when it was looked at, on the clock of `performance.now()`. */
  private activeMs = performance.now();
  /** Whether anything has happened since: the clock is not read for every call. */
  private active = false;

  /**
   * @param localAddress the source address; undefined leaves it to the system
   * @param freed told when an answer has ended and the connection can carry the next call
   * @param closed told once, when it cannot carry calls any more
   */
  constructor(
    origin: Origin,
    localAddress: string | undefined,
    private readonly freed: (connection: Connection) => void,
    private readonly closed: (connection: Connection) => void,
  ) {
    const options = {
      host: origin.host,
      port: origin.port,
      noDelay: true,
      ...(localAddress !== undefined && { localAddress }),
      // Without a stream in between: read, parsed and forgotten.
      onread: {
        buffer: bytesRead,
        callback: (count: number) => {
          this.read(count);
          return true;
        },
      },
    };
    const { secure, host } = origin;
    this.socket = secure
      ? connectTls({ ...options, ...(isIP(host) === 0 && { servername: host }) })
      : connectTcp(options);
    this.socket.once(secure ? 'secureConnect' : 'connect', () => this.onConnect());
    this.socket.on('error', (error: Error & { code?: string }) => this.close(error.code ?? error.name));
    this.socket.on('end', () => this.onEnd());
    this.socket.on('close', () => this.onEnd());
  }

  /**
   * Sends a call; only while it carries none.
   *
   * @param head the request line and all fields, with the empty line
   */
  send(head: string, body: string, reader: AnswerReader): void {
    this.reader = reader;
    this.active = true;
    if (this.stage === 'closed') return this.close('CONNECTION_CLOSED');
    if (this.stage === 'idle') this.stage = 'head';
    // One write whatever comes along; text that is all ASCII need not be encoded.
    if (body === '') this.socket.write(head, 'latin1');
    else this.socket.write(head + body, 'utf8');
  }

  /** Looks whether it has been waiting for too long; to be called regularly, a wait counts from one call to another. */
  check(nowMs: number, callTimeoutMs: number): void {
    if (this.active) {
      this.active = false;
      this.activeMs = nowMs;
    }
    const waitedMs = nowMs - this.activeMs;
    switch (this.stage) {
      case 'idle':
        if (waitedMs > this.idleMs()) this.close(undefined);
        return;
      case 'connecting':
        if (waitedMs > Math.min(CONNECT_MS, callTimeoutMs)) this.close('CONNECT_TIMEOUT');
        return;
      case 'head':
      case 'body':
        if (waitedMs > callTimeoutMs) this.close(`${this.stage.toUpperCase()}_TIMEOUT`);
        return;
      case 'closed':
    }
  }

  /** Closes at once; a call under way ends with the fault. */
  close(fault: string | undefined): void {
    if (this.stage !== 'closed') {
      this.stage = 'closed';
      this.socket.destroy();
      this.closed(this);
    }
    const { reader } = this;
    if (!reader) return;
    this.reader = undefined;
    reader.came(performance.now());
    reader.ended(fault ?? 'CONNECTION_CLOSED');
  }

  private onConnect(): void {
    if (this.stage !== 'connecting') return;
    this.stage = this.reader ? 'head' : 'idle';
    this.active = true;
  }

  private idleMs(): number {
    const { keepAliveMs } = this.parser;
    return keepAliveMs === 0 ? IDLE_MS : Math.max(0, keepAliveMs - IDLE_MARGIN_MS);
  }

  private read(count: number): void {
    if (this.stage === 'closed') return;
    const { reader } = this;
    // An answer that nobody asked for: nothing that comes now could be told from the next one.
    if (!reader) return this.close(undefined);
    this.active = true;
    let endedAt: number;
    try {
      reader.came(performance.now());
      endedAt = this.parser.execute(bytesRead, count, reader);
    } catch (error) {
      if (!(error instanceof AnswerFault)) throw error;
      return this.close(error.message);
    }
    if (endedAt < 0) {
      this.stage = 'body';
      return;
    }
    this.reader = undefined;
    if (this.parser.keepAlive && endedAt === count) {
      this.stage = 'idle';
      this.freed(this);
      reader.ended(undefined);
    } else {
      this.close(undefined);
      reader.ended(undefined);
    }
  }

  private onEnd(): void {
    const { reader } = this;
    if (reader && this.parser.finish()) {
      this.reader = undefined;
      this.close(undefined);
      reader.came(performance.now());
      reader.ended(undefined);
    } else {
      this.close(this.stage === 'connecting' ? 'CONNECTION_REFUSED' : 'CONNECTION_CLOSED');
    }
  }
}
