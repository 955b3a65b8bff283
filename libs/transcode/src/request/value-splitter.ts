import { TranscodeError } from '../errors.js';
import type { Position } from '../errors.js';
import { plainRunEnd } from '../wire/plain-run.js';

/** What the splitter expects or is within. */
type State =
  /** A value, the bracket that begins the array, or the end. */
  | 'start'
  /** A value or the end: values follow one another. */
  | 'between'
  /** The first item of an array, or its end. */
  | 'first item'
  /** An item of an array, after a comma. */
  | 'item'
  /** A comma, or the end of the array. */
  | 'after item'
  /** Nothing more. */
  | 'done'
  /** The rest of an object or array. */
  | 'container'
  /** The rest of a string that is a value. */
  | 'string'
  /** The rest of a number, `true`, `false` or `null`. */
  | 'word';

/**
 * Finds where the JSON values of a body begin and end, in whatever pieces it arrives, without looking at more of them than strings
 * and brackets: whether a value is JSON is for its reader to say.
 */
export class ValueSplitter {
  private state: State = 'start';
  private inArray = false;
  /** How many brackets of the value are open. */
  private open = 0;
  /** Within a string, and after a backslash in it. */
  private quoted = false;
  private escaped = false;
  /** The beginning of a value whose end has not come: `held[0, heldBytes)`, one buffer however many pieces it came in. */
  private held = new Uint8Array(0);
  private heldBytes = 0;
  /** Where the value begins that is being read. */
  private begin: Position = { offset: 0, line: 1, column: 1 };
  /** Offset of the chunk in the body, the number of the line at `counted`, and how many characters of it precede. */
  private base = 0;
  private counted = 0;
  private line = 1;
  private column = 1;

  /**
   * @param arrays whether a body may be an array of values
   * @param take gets each value, which is the callee's until it returns
   */
  constructor(
    private readonly valueBytesMax: number,
    private readonly arrays: boolean,
    private readonly take: (value: Uint8Array, begin: Position) => void,
  ) {}

  /** @throws TranscodeError `INVALID_JSON` or `ITEM_TOO_LARGE`, or what `take` throws */
  push(chunk: Uint8Array): void {
    this.counted = 0;
    /** Where the value begins in the chunk, when it does. */
    let start = 0;
    let at = 0;
    while (at < chunk.length) {
      switch (this.state) {
        case 'container':
          at = this.containerEnd(chunk, at);
          if (this.open === 0) this.complete(chunk, start, at);
          break;
        case 'string':
          at = this.stringEnd(chunk, at);
          if (!this.quoted) this.complete(chunk, start, at);
          break;
        case 'word': {
          const end = wordEnd(chunk, at);
          if (end < chunk.length) this.complete(chunk, start, end);
          at = end;
          break;
        }
        default: {
          const byte = chunk[at]!;
          if (isSpace(byte)) at++;
          else if (this.punctuation(byte, chunk, at)) at++;
          else {
            start = at;
            this.begin = this.positionAt(chunk, at);
            at = this.enter(byte, at);
          }
        }
      }
    }
    // The caller may use the chunk's memory again: what is held is a copy.
    if (this.state === 'container' || this.state === 'string' || this.state === 'word')
      this.hold(chunk.subarray(start));
    this.count(chunk, chunk.length);
    this.base += chunk.length;
  }

  end(): void {
    const { state } = this;
    if (state === 'word') this.complete(nothing, 0, 0);
    // What is cut is told by its reader.
    else if (state === 'container' || state === 'string') this.complete(nothing, 0, 0);
    if (this.inArray && this.state !== 'done') this.fail('the array has no end', nothing, 0);
  }

  /** Takes what stands between values. @returns false when it is none of that */
  private punctuation(byte: number, chunk: Uint8Array, at: number): boolean {
    const { state } = this;
    if (state === 'done') this.fail('unexpected text after the array', chunk, at);
    if (byte === OPEN && state === 'start' && this.arrays) {
      this.inArray = true;
      this.state = 'first item';
      return true;
    }
    if (byte === CLOSE && (state === 'first item' || state === 'after item')) {
      this.state = 'done';
      return true;
    }
    if (state !== 'after item') return false;
    if (byte !== COMMA) this.fail('expected "," or "]"', chunk, at);
    this.state = 'item';
    return true;
  }

  /** Begins a value. @returns the index after what was read of it */
  private enter(byte: number, at: number): number {
    if (byte === QUOTE) {
      this.state = 'string';
      this.quoted = true;
      return at + 1;
    }
    this.state = byte === 0x7b || byte === OPEN ? 'container' : 'word';
    // A word is at least one character, whatever it is.
    return this.state === 'word' ? at + 1 : at;
  }

  private containerEnd(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      if (this.quoted) {
        at = this.stringEnd(chunk, at);
        continue;
      }
      const byte = chunk[at++]!;
      if (byte === QUOTE) this.quoted = true;
      else if (byte === 0x7b || byte === OPEN) this.open++;
      else if ((byte === 0x7d || byte === CLOSE) && --this.open === 0) return at;
    }
    return at;
  }

  private stringEnd(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      if (this.escaped) {
        this.escaped = false;
        at++;
        continue;
      }
      at = plainRunEnd(chunk, at, chunk.length);
      if (at === chunk.length) return at;
      const byte = chunk[at++]!;
      if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) {
        this.quoted = false;
        return at;
      }
    }
    return at;
  }

  private complete(chunk: Uint8Array, start: number, end: number): void {
    const piece = chunk.subarray(start, end);
    let value = piece;
    if (this.heldBytes > 0) {
      this.hold(piece);
      value = this.held.subarray(0, this.heldBytes);
      this.held = nothing;
      this.heldBytes = 0;
    } else this.requireRoom(piece.length);
    this.state = this.inArray ? 'after item' : 'between';
    this.open = 0;
    this.take(value, this.begin);
  }

  /** Octets of memory in use for the beginning of a value. */
  get octetsHeld(): number {
    return this.held.length;
  }

  private hold(piece: Uint8Array): void {
    this.requireRoom(piece.length);
    const bytes = this.heldBytes + piece.length;
    if (bytes > this.held.length) {
      const larger = new Uint8Array(Math.max(bytes, this.held.length * 2));
      larger.set(this.held.subarray(0, this.heldBytes));
      this.held = larger;
    }
    this.held.set(piece, this.heldBytes);
    this.heldBytes = bytes;
  }

  private requireRoom(more: number): void {
    if (this.heldBytes + more <= this.valueBytesMax) return;
    const text = `the value that begins in line ${this.begin.line} is longer than ${this.valueBytesMax} bytes`;
    throw new TranscodeError('ITEM_TOO_LARGE', text);
  }

  private positionAt(chunk: Uint8Array, at: number): Position {
    this.count(chunk, at);
    return { offset: this.base + at, line: this.line, column: this.column };
  }

  /** Counts lines and characters up to an index of the chunk. */
  private count(chunk: Uint8Array, to: number): void {
    const part = chunk.subarray(this.counted, to);
    let from = 0;
    for (let at = part.indexOf(LINE_FEED); at >= 0; at = part.indexOf(LINE_FEED, from)) {
      this.line++;
      this.column = 1;
      from = at + 1;
    }
    const rest = part.length - from;
    if (rest > 0) this.column += Buffer.from(part.buffer, part.byteOffset + from, rest).toString().length;
    this.counted = to;
  }

  private fail(reason: string, chunk: Uint8Array, at: number): never {
    throw new TranscodeError('INVALID_JSON', reason, undefined, this.positionAt(chunk, at));
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
const LINE_FEED = 0x0a;
const nothing = new Uint8Array(0);

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === LINE_FEED || byte === 0x0d || byte === 0x09;
}

/** A number or word ends before white space and whatever can begin or separate values. */
function wordEnd(chunk: Uint8Array, from: number): number {
  let at = from;
  while (at < chunk.length) {
    const byte = chunk[at]!;
    if (isSpace(byte) || byte === COMMA || byte === CLOSE || byte === OPEN || byte === 0x7b || byte === QUOTE) break;
    at++;
  }
  return at;
}
