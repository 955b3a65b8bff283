/**
 * Answers of HTTP/1.1, read as they come, cut anywhere (RFC 9112):
 *
 *   answer   = "HTTP/1." ("0" / "1") SP 3DIGIT [SP reason] CRLF *(field-line CRLF) CRLF [body]
 *   body     = content-length bytes / chunks / what comes until the connection closes   (section 6.3)
 *   chunks   = *(1*HEXDIG [";" extension] CRLF bytes CRLF) "0" CRLF *(trailer CRLF) CRLF (section 7.1)
 *
 * Of the field lines only those are read that say where the answer ends or when to come again. What could be read in two ways is
 * refused: a length beside chunks, two lengths, a folded line, a field name with a space.
 */

/** Who hears of an answer. */
export interface AnswerReader {
  /** Something has come at this moment of `performance.now()`: what is told next is of it. */
  came(atMs: number): void;
  /** The status line and the fields have come. @param retryAfter the field's value, '' without one */
  head(status: number, retryAfter: string): void;
  /** Some of the body; the buffer is used again after the call. */
  data(bytes: Buffer, from: number, to: number): void;
  /** @param fault why there is no complete answer; undefined when there is one. Called once, last. */
  ended(fault: string | undefined): void;
}

/** What an answer was that cannot be read. */
export class AnswerFault extends Error {
  override readonly name = 'AnswerFault';
}

/** Bytes of a head, or of the lines between chunks, at most. */
const LINES_BYTES_MAX = 65_536;
/** Bytes of a body at most. */
const BODY_BYTES_MAX = 67_108_864;

type State =
  | 'status'
  | 'field'
  /** `left` bytes of the body, or of the chunk. */
  | 'body'
  | 'chunk'
  /** The line end behind a chunk. */
  | 'chunk end'
  | 'chunk size'
  | 'trailer'
  /** The body lasts until the connection closes. */
  | 'until close';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const LOWER_CASE = 0x20;
const LOWER_A = 0x61;
const ZERO = 0x30;

const STATUS = /^HTTP\/1\.([01]) (\d{3})(?: |$)/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const CHUNK_SIZE = /^([0-9a-fA-F]{1,8})[ \t]*(?:;|$)/;

/** Whether a line may be a field that matters: by its first letter and by where its name ends. */
function matters(bytes: Buffer, from: number): boolean {
  const ends = (length: number) => bytes[from + length] === COLON || bytes[from + length]! <= SPACE;
  switch (bytes[from]! | LOWER_CASE) {
    case 0x63:
      return ends('connection'.length) || ends('content-length'.length);
    case 0x6b:
      return ends('keep-alive'.length);
    case 0x72:
      return ends('retry-after'.length);
    case 0x74:
      return ends('transfer-encoding'.length);
    default:
      return false;
  }
}

/** What most servers send, letter for letter; anything else is read as text. */
const STATUS_LINE = Buffer.from('HTTP/1.1 ');
const LENGTH_FIELD = Buffer.from('content-length: ');
const KEPT_FIELD = Buffer.from('connection: keep-alive');
const KEPT_FOR_FIELD = Buffer.from('keep-alive: timeout=');

/** Whether the line begins with this, in letters of either case. */
function startsWith(bytes: Buffer, from: number, to: number, start: Buffer): boolean {
  if (to - from < start.length) return false;
  for (let index = 0; index < start.length; index++) {
    const expected = start[index]!;
    const found = bytes[from + index]!;
    if (found !== expected && !(expected >= LOWER_A && found === (expected & ~LOWER_CASE))) return false;
  }
  return true;
}

/** The number that these digits are, at most nine of them; -1 when they are anything else. */
function numberOf(bytes: Buffer, from: number, to: number): number {
  if (from >= to || to - from > 9) return -1;
  let number = 0;
  for (let at = from; at < to; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

export class AnswerParser {
  private state: State = 'status';
  /** The start of a line whose end has not come. */
  private line = '';
  private linesBytes = 0;
  private bodyBytes = 0;
  private left = 0;
  private status = 0;
  private length: number | undefined;
  private chunked = false;
  private retryAfter = '';
  /** Whether the connection may carry another call after this answer. */
  keepAlive = true;
  /** For how long the server keeps an idle connection, in milliseconds; 0 when it did not say. */
  keepAliveMs = 0;

  /**
   * Reads what has come.
   *
   * @returns where the answer has ended; -1 when more is to come
   * @throws AnswerFault for what is no answer, or one whose end is not clear
   */
  execute(bytes: Buffer, to: number, reader: AnswerReader): number {
    let at = 0;
    while (at < to) {
      switch (this.state) {
        case 'body':
        case 'chunk': {
          const end = Math.min(to, at + this.left);
          this.data(bytes, at, end, reader);
          this.left -= end - at;
          at = end;
          if (this.left > 0) break;
          if (this.state === 'body') return this.complete(at);
          this.state = 'chunk end';
          break;
        }
        case 'until close':
          this.data(bytes, at, to, reader);
          return -1;
        default: {
          let end = at;
          while (end < to && bytes[end] !== LF) end++;
          this.linesBytes += end - at + 1;
          if (this.linesBytes > LINES_BYTES_MAX) throw new AnswerFault('HEAD_TOO_LARGE');
          if (end === to) {
            this.line += bytes.toString('latin1', at, end);
            return -1;
          }
          const ended = this.takeLine(bytes, at, end, reader);
          at = end + 1;
          if (ended) return this.complete(at);
        }
      }
    }
    return -1;
  }

  /** The connection has closed. @returns whether that completes the answer */
  finish(): boolean {
    return this.state === 'until close';
  }

  private data(bytes: Buffer, from: number, to: number, reader: AnswerReader): void {
    this.bodyBytes += to - from;
    if (this.bodyBytes > BODY_BYTES_MAX) throw new AnswerFault('BODY_TOO_LARGE');
    reader.data(bytes, from, to);
  }

  /** @returns whether the answer ends with this line */
  private takeLine(bytes: Buffer, from: number, end: number, reader: AnswerReader): boolean {
    const whole = this.line === '';
    const to = end > from && bytes[end - 1] === CR ? end - 1 : end;
    // No text is made of fields that do not matter, nor of what is as usual: that is half of what an answer costs.
    if (whole && to > from) {
      if (this.state === 'status') {
        if (this.takeUsualStatus(bytes, from, to)) return false;
      } else if (this.state === 'field') {
        if (!matters(bytes, from)) {
          if (bytes[from]! <= SPACE) throw new AnswerFault('MALFORMED_ANSWER');
          return false;
        }
        if (this.takeUsualField(bytes, from, to)) return false;
      }
    }
    let line = bytes.toString('latin1', from, to);
    if (!whole) {
      line = this.line + line;
      if (to === end && line.endsWith('\r')) line = line.slice(0, -1);
      this.line = '';
    }
    return this.onLine(line, reader);
  }

  /** @returns false for a line that is to be read as text */
  private takeUsualStatus(bytes: Buffer, from: number, to: number): boolean {
    const codeEnd = from + STATUS_LINE.length + 3;
    if (to < codeEnd || (to > codeEnd && bytes[codeEnd] !== SPACE)) return false;
    if (!startsWith(bytes, from, to, STATUS_LINE)) return false;
    const status = numberOf(bytes, codeEnd - 3, codeEnd);
    if (status < 0) return false;
    this.begin(status, true);
    return true;
  }

  /** @returns false for a line that is to be read as text */
  private takeUsualField(bytes: Buffer, from: number, to: number): boolean {
    if (startsWith(bytes, from, to, LENGTH_FIELD)) {
      const length = numberOf(bytes, from + LENGTH_FIELD.length, to);
      if (length < 0 || this.length !== undefined) return false;
      this.length = length;
      return true;
    }
    if (startsWith(bytes, from, to, KEPT_FIELD)) {
      if (to - from > KEPT_FIELD.length) return false;
      this.keepAlive = true;
      return true;
    }
    if (!startsWith(bytes, from, to, KEPT_FOR_FIELD)) return false;
    const seconds = numberOf(bytes, from + KEPT_FOR_FIELD.length, to);
    if (seconds < 0 || seconds > 999_999) return false;
    this.keepAliveMs = seconds * 1000;
    return true;
  }

  private onLine(line: string, reader: AnswerReader): boolean {
    switch (this.state) {
      case 'status':
        this.onStatus(line);
        return false;
      case 'field':
        if (line === '') return this.onHead(reader);
        this.onField(line);
        return false;
      case 'chunk size': {
        const size = CHUNK_SIZE.exec(line)?.[1];
        if (size === undefined) throw new AnswerFault('MALFORMED_ANSWER');
        this.left = Number.parseInt(size, 16);
        this.state = this.left === 0 ? 'trailer' : 'chunk';
        this.linesBytes = 0;
        return false;
      }
      case 'chunk end':
        if (line !== '') throw new AnswerFault('MALFORMED_ANSWER');
        this.state = 'chunk size';
        return false;
      default:
        // A trailer: nothing that matters here.
        return line === '';
    }
  }

  private onStatus(line: string): void {
    const found = STATUS.exec(line);
    if (!found) throw new AnswerFault('MALFORMED_ANSWER');
    this.begin(Number(found[2]), found[1] === '1');
  }

  private begin(status: number, keepAlive: boolean): void {
    this.status = status;
    this.keepAlive = keepAlive;
    this.keepAliveMs = 0;
    this.length = undefined;
    this.chunked = false;
    this.retryAfter = '';
    this.state = 'field';
  }

  private onField(line: string): void {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    if (!FIELD_NAME.test(name)) throw new AnswerFault('MALFORMED_ANSWER');
    const value = line.slice(colon + 1).trim();
    switch (name.toLowerCase()) {
      case 'content-length': {
        const length = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
        if (length === undefined || (this.length !== undefined && this.length !== length)) {
          throw new AnswerFault('MALFORMED_ANSWER');
        }
        this.length = length;
        return;
      }
      case 'transfer-encoding':
        if (this.chunked || value.toLowerCase() !== 'chunked') throw new AnswerFault('MALFORMED_ANSWER');
        this.chunked = true;
        return;
      case 'connection':
        if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) this.keepAlive = false;
        else if (/(?:^|,)[ \t]*keep-alive[ \t]*(?:,|$)/i.test(value)) this.keepAlive = true;
        return;
      case 'keep-alive':
        this.keepAliveMs = Number(/(?:^|[, \t])timeout=(\d{1,6})/i.exec(value)?.[1] ?? 0) * 1000;
        return;
      case 'retry-after':
        this.retryAfter = value;
        return;
      default:
    }
  }

  /** All fields have come: where does the answer end? (RFC 9112 section 6.3) */
  private onHead(reader: AnswerReader): boolean {
    const { status, length } = this;
    if (status < 200) {
      // 101 would make another protocol of the connection, and nothing here asks for that.
      if (status === 101 || status < 100) throw new AnswerFault('MALFORMED_ANSWER');
      this.state = 'status';
      return false;
    }
    if (this.chunked && length !== undefined) throw new AnswerFault('MALFORMED_ANSWER');
    reader.head(status, this.retryAfter);
    if (status === 204 || status === 304) return true;
    if (this.chunked) {
      this.state = 'chunk size';
      this.linesBytes = 0;
      return false;
    }
    if (length === undefined) {
      this.keepAlive = false;
      this.state = 'until close';
      return false;
    }
    this.left = length;
    this.state = 'body';
    return length === 0;
  }

  private complete(at: number): number {
    this.state = 'status';
    this.linesBytes = 0;
    this.bodyBytes = 0;
    return at;
  }
}
