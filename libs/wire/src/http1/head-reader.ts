import type { Fields, FieldSection } from '../fields.js';
import { framing, type Framing } from './framing.js';
import { parseFields, parseRequestLine, type RequestLine } from './request-head.js';

/** The fields of a head, and what they say about its body and the connection. */
export interface HeadFields extends FieldSection, Framing {}

export interface RequestHead {
  readonly line: RequestLine;
  readonly section: HeadFields;
}

/** A request line up to this size is remembered, and so are fields up to that. */
const LINE_OCTETS_MAX = 512;
const FIELDS_OCTETS_MAX = 2048;
const LINE_END_OCTETS = 2;

/**
 * Reads the heads of one connection. A client says nearly the same in every request, so the last head is kept with what it
 * means: one that is the same octet by octet is not even searched for its end, and fields that are the same are not read again.
 */
export class HeadReader {
  /** The last head from `start` to `end`: its line up to LINE_OCTETS_MAX, then its fields and the line end after them. */
  private octets: Buffer | undefined;
  private start = 0;
  private end = 0;
  private last: RequestHead | undefined;
  /** Octets of the head that was read last, with the line end after it. */
  length = 0;

  /** The head that stands at `from` when it is the last one once more. */
  repeated(bytes: Buffer, from: number): RequestHead | undefined {
    const { last, start, end } = this;
    const to = from + end - start;
    if (last === undefined || to > bytes.length) return undefined;
    if (this.octets!.compare(bytes, from, to, start, end) !== 0) return undefined;
    this.length = end - start;
    return last;
  }

  /**
   * @param start of the request line
   * @param end after the empty line at the end
   * @throws Http1Fault
   */
  read(bytes: Buffer, start: number, end: number): RequestHead {
    this.length = end - start;
    const lineEnd = bytes.indexOf(LINE_END, start);
    const line = parseRequestLine(bytes.toString('latin1', start, lineEnd));
    const from = lineEnd + LINE_END_OCTETS;
    const { last } = this;
    const same =
      last !== undefined &&
      line.minorVersion === last.line.minorVersion &&
      this.end - LINE_OCTETS_MAX === end - from &&
      this.octets!.compare(bytes, from, end, LINE_OCTETS_MAX, this.end) === 0;
    const head = { line, section: same ? last.section : readFields(bytes, from, end, line.minorVersion) };
    this.remember(bytes, start, from, same ? from : end, head);
    return head;
  }

  /** Lets go of what was remembered: an idle connection holds nothing. */
  forget(): void {
    this.octets = this.last = undefined;
  }

  /** Fields that are remembered already are not copied again: `end` is their start. */
  private remember(bytes: Buffer, start: number, fields: number, end: number, head: RequestHead): void {
    const line = fields - start;
    const length = end - fields;
    if (line > LINE_OCTETS_MAX || length > FIELDS_OCTETS_MAX) {
      this.last = undefined;
      return;
    }
    if (length > 0) {
      if (this.octets === undefined || this.octets.length < LINE_OCTETS_MAX + length) {
        this.octets = Buffer.allocUnsafeSlow(roundUp(LINE_OCTETS_MAX + length));
      }
      this.end = LINE_OCTETS_MAX + length;
    }
    this.start = LINE_OCTETS_MAX - line;
    bytes.copy(this.octets!, this.start, start, end);
    this.last = head;
  }
}

function readFields(bytes: Buffer, start: number, end: number, minorVersion: 0 | 1): HeadFields {
  const fields: Fields = parseFields(bytes.toString('latin1', start, end - LINE_END_OCTETS));
  return { fields, meaning: undefined, ...framing(fields, minorVersion) };
}

/** Fields that differ from request to request differ little in size. */
function roundUp(octets: number): number {
  return Math.ceil(octets / 256) * 256;
}

const LINE_END = Buffer.from('\r\n');
