import { Buffer } from 'node:buffer';
import { TranscodeError } from '../errors.js';

export function invalidMessage(reason: string): never {
  throw new TranscodeError('INVALID_MESSAGE', `the upstream's message cannot be printed: ${reason}`);
}

/** Size of an occurrence in `slots`: where its value starts and ends, its wire type, and the next one of its field. */
const occurrenceSize = 4;

/** What the index needs to know of the fields of a message. */
export interface FieldIndex {
  readonly count: number;
  /** Position of a field by its number, or -1. */
  position(number: number): number;
  /** By position: a bit for each wire type that is read; other occurrences are unknown fields. */
  readonly wireTypes: Uint8Array;
  /** By position: 1 to keep all occurrences, 0 for the last alone. */
  readonly keepsAll: Uint8Array;
  /** By position: the other members of its oneof. */
  readonly siblings: readonly (readonly number[] | undefined)[];
  /** By position: the numbers that a closed enum declares. */
  readonly closed: readonly (ReadonlySet<number> | undefined)[];
}

/**
 * A serialized message that is being printed, with an index of where its fields are. JSON wants each field once, in
 * one place, with defaults for those that are absent; the wire has them in any order and any number. So a message is
 * walked once to note the occurrences of each field, and printed from the notes.
 *
 * The notes of nested messages lie above those of their parents, in one array used as a stack. A frame is the first
 * occurrence of each field, then the last of each; 0 is none.
 */
export class WireMessage {
  buf: Buffer = Buffer.alloc(0);
  private slots = new Int32Array(1024);
  private top = 1;
  private depth = 0;
  depthMax = 100;

  reset(message: Uint8Array, depthMax: number): void {
    this.buf = Buffer.isBuffer(message) ? message : Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    this.top = 1;
    this.depth = 0;
    this.depthMax = depthMax;
  }

  release(): void {
    this.buf = nothing;
    if (this.slots.length > 1 << 18) this.slots = new Int32Array(1024);
  }

  /** Notes the fields between `start` and `end`. @returns the frame, to be given back by `leave` */
  enter(index: FieldIndex, start: number, end: number): number {
    const { count } = index;
    const frame = this.top;
    this.top = frame + 2 * count;
    this.reserve();
    const { slots } = this;
    for (let i = frame; i < this.top; i++) slots[i] = 0;
    this.walk(index, frame, start, end);
    return frame;
  }

  leave(frame: number): void {
    this.top = frame;
  }

  /** Counts a message that is being printed within another; a map's entry is one, too. */
  descend(): void {
    if (++this.depth > this.depthMax) invalidMessage(`nested deeper than ${this.depthMax} levels`);
  }

  ascend(): void {
    this.depth--;
  }

  /** The first occurrence of a field, or 0. */
  first(frame: number, position: number): number {
    return this.slots[frame + position]!;
  }

  next(occurrence: number): number {
    return this.slots[occurrence + 3]!;
  }

  start(occurrence: number): number {
    return this.slots[occurrence]!;
  }

  end(occurrence: number): number {
    return this.slots[occurrence + 1]!;
  }

  wireType(occurrence: number): number {
    return this.slots[occurrence + 2]!;
  }

  /**
   * Looks whether a message is a single known field with a value of its only wire type.
   * @returns its number, with `contentStart` and `contentEnd` set; 0 when there is more to it
   */
  onlyField(index: FieldIndex, start: number, end: number): number {
    if (start >= end) return 0;
    const tag = this.varint32(start, end);
    const valueStart = this.after;
    const position = index.position(tag >>> 3);
    if (position < 0 || index.wireTypes[position] !== 1 << (tag & 7)) return 0;
    if (this.skip(tag & 7, tag >>> 3, valueStart, end, 0) !== end) return 0;
    if ((tag & 7) !== 2) this.contentStart = valueStart;
    return tag >>> 3;
  }

  /**
   * The content of a message field: of its only occurrence, or of all of them joined, which is how protobuf merges
   * them. The joined content is in a buffer of its own, so the caller puts `outer` back.
   */
  merged(first: number): { start: number; end: number; outer: Buffer } {
    const outer = this.buf;
    if (this.next(first) === 0) return { start: this.start(first), end: this.end(first), outer };
    const parts: Buffer[] = [];
    for (let at = first; at !== 0; at = this.next(at)) parts.push(outer.subarray(this.start(at), this.end(at)));
    this.buf = Buffer.concat(parts);
    return { start: 0, end: this.buf.length, outer };
  }

  private reserve(): void {
    if (this.top + occurrenceSize < this.slots.length) return;
    const larger = new Int32Array(Math.max(this.slots.length * 2, this.top + 1024));
    larger.set(this.slots);
    this.slots = larger;
  }

  private walk(index: FieldIndex, frame: number, start: number, end: number): void {
    let pos = start;
    while (pos < end) {
      const tag = this.varint32(pos, end);
      pos = this.after;
      const type = tag & 7;
      const number = tag >>> 3;
      if (number === 0) invalidMessage('field number 0');
      const valueStart = pos;
      pos = this.skip(type, number, pos, end, 0);
      const position = index.position(number);
      if (position < 0 || !(index.wireTypes[position]! & (1 << type))) continue;
      this.note(index, frame, position, type, type === 2 ? this.contentStart : valueStart, this.contentEnd);
    }
  }

  private note(index: FieldIndex, frame: number, position: number, type: number, start: number, end: number): void {
    const closed = index.closed[position];
    // A number that a closed enum does not declare is an unknown field.
    if (closed && type === 0 && !closed.has(this.varint32(start, end) | 0)) return;
    const { count } = index;
    const siblings = index.siblings[position];
    if (siblings) for (const sibling of siblings) this.slots[frame + sibling] = 0;
    let occurrence = this.slots[frame + position]!;
    if (occurrence === 0 || index.keepsAll[position]) {
      const previous = occurrence === 0 ? 0 : this.slots[frame + count + position]!;
      occurrence = this.top;
      this.top += occurrenceSize;
      this.reserve();
      if (previous === 0) this.slots[frame + position] = occurrence;
      else this.slots[previous + 3] = occurrence;
      this.slots[frame + count + position] = occurrence;
      this.slots[occurrence + 3] = 0;
    }
    const { slots } = this;
    slots[occurrence] = start;
    slots[occurrence + 1] = end;
    slots[occurrence + 2] = type;
  }

  /** Index after the last varint that was read. */
  after = 0;
  /** High half of the last 64-bit varint. */
  high = 0;
  /** Where the content of the last value that was passed over starts and ends. */
  contentStart = 0;
  contentEnd = 0;

  /** The low 32 bits of a varint, unsigned; sets `after`. */
  varint32(pos: number, end: number): number {
    const { buf } = this;
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) invalidMessage('it is cut');
      const byte = buf[pos++]!;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.after = pos;
        return value >>> 0;
      }
    }
    return invalidMessage('a varint is longer than ten bytes');
  }

  /** The low half of a 64-bit varint, unsigned; sets `high` and `after`. */
  varint64(pos: number, end: number): number {
    const { buf } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) invalidMessage('it is cut');
      const byte = buf[pos++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.after = pos;
        this.high = high >>> 0;
        return low >>> 0;
      }
    }
    return invalidMessage('a varint is longer than ten bytes');
  }

  /** Passes over a value that is no group. Sets `contentStart` and `contentEnd`. @returns the index after it */
  pass(type: number, pos: number, end: number): number {
    const after = this.skip(type, 0, pos, end, 0);
    if (type !== 2) this.contentStart = pos;
    return after;
  }

  /** Passes over a value. Sets where its content starts and ends. @returns the index after it */
  private skip(type: number, number: number, pos: number, end: number, groups: number): number {
    let after: number;
    switch (type) {
      case 0:
        this.varint32(pos, end);
        after = this.after;
        break;
      case 1:
        after = pos + 8;
        break;
      case 2: {
        const length = this.varint32(pos, end);
        this.contentStart = this.after;
        after = this.after + length;
        break;
      }
      case 3:
        return this.skipGroup(number, pos, end, groups);
      case 5:
        after = pos + 4;
        break;
      default:
        return invalidMessage(`wire type ${type}`);
    }
    if (after > end) invalidMessage('it is cut');
    this.contentEnd = after;
    return after;
  }

  private skipGroup(number: number, start: number, end: number, groups: number): number {
    if (groups >= this.depthMax) invalidMessage(`nested deeper than ${this.depthMax} levels`);
    let pos = start;
    for (;;) {
      const tag = this.varint32(pos, end);
      const before = pos;
      pos = this.after;
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== number) invalidMessage('a group ends that did not begin');
        this.contentEnd = before;
        return pos;
      }
      pos = this.skip(tag & 7, tag >>> 3, pos, end, groups + 1);
    }
  }
}

const nothing = Buffer.alloc(0);
