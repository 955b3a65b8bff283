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

/**
 * Reads the heads of one connection. A client says nearly the same in every request, so the last head is kept with what it
 * means: fields that are the same octet by octet are not even searched for their end, and neither is a line that is.
 */
export class HeadReader {
  /** The last head from `start` to `end`: its line up to LINE_OCTETS_MAX, then its fields and the line end after them. */
  private octets: Buffer | undefined;
  private start = 0;
  private end = 0;
  private last: RequestHead | undefined;
  /** Octets of the head that was read last, with the line end after it. */
  length = 0;

  /** @param octetsMax of a head, without the line ends after its last line */
  constructor(private readonly octetsMax: number) {}

  /**
   * The head at `from` when its fields are the last ones once more.
   *
   * @throws Http1Fault
   */
  repeated(bytes: Buffer, from: number): RequestHead | undefined {
    const { last, octets, start } = this;
    if (last === undefined) return undefined;
    let at = start;
    while (at < LINE_OCTETS_MAX && bytes[from + at - start] === octets![at]) at++;
    if (at === LINE_OCTETS_MAX) {
      if (!this.fieldsRepeat(bytes, from + LINE_OCTETS_MAX - start)) return undefined;
      this.length = this.end - start;
      return last;
    }
    const lineEnd = bytes.indexOf(LINE_END, from);
    const fields = lineEnd + LINE_END.length;
    if (lineEnd === -1 || !this.fieldsRepeat(bytes, fields)) return undefined;
    const length = fields - from + this.end - LINE_OCTETS_MAX;
    if (length - HEAD_END_OCTETS > this.octetsMax) return undefined;
    const line = parseRequestLine(bytes.toString('latin1', from, lineEnd));
    if (line.minorVersion !== last.line.minorVersion) return undefined;
    const head = { line, section: last.section };
    this.length = length;
    this.remember(bytes, from, fields, fields, head);
    return head;
  }

  private fieldsRepeat(bytes: Buffer, from: number): boolean {
    const to = from + this.end - LINE_OCTETS_MAX;
    return to <= bytes.length && this.octets!.compare(bytes, from, to, LINE_OCTETS_MAX, this.end) === 0;
  }

  /**
   * Reads a head whose fields are not the last ones.
   *
   * @param start of the request line
   * @param end after the empty line at the end
   * @throws Http1Fault
   */
  read(bytes: Buffer, start: number, end: number): RequestHead {
    this.length = end - start;
    const lineEnd = bytes.indexOf(LINE_END, start);
    const line = parseRequestLine(bytes.toString('latin1', start, lineEnd));
    const fields = lineEnd + LINE_END.length;
    const head = { line, section: readFields(bytes, fields, end, line.minorVersion) };
    this.remember(bytes, start, fields, end, head);
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
  const fields: Fields = parseFields(bytes.toString('latin1', start, end - LINE_END.length));
  return { fields, meaning: undefined, ...framing(fields, minorVersion) };
}

/** Fields that differ from request to request differ little in size. */
function roundUp(octets: number): number {
  return Math.ceil(octets / 256) * 256;
}

const LINE_END = Buffer.from('\r\n');
const HEAD_END_OCTETS = 2 * LINE_END.length;
