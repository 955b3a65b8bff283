import type { Fields, FieldSection } from '../fields.js';
import { framing, type Framing } from './framing.js';
import { parseFields, parseRequestLine, type RequestLine } from './request-head.js';

/** The fields of a head, and what they say about its body and the connection. */
export interface HeadFields extends FieldSection, Framing {}

export interface RequestHead {
  readonly line: RequestLine;
  readonly section: HeadFields;
}

/** Fields up to this size are remembered. */
const REMEMBERED_OCTETS_MAX = 2048;
const LINE_END_OCTETS = 2;

/**
 * Reads the heads of one connection. A client says nearly the same in every request, so the last fields are kept with what
 * they mean, and fields that are the same octet by octet are not read again.
 */
export class HeadReader {
  /** Large enough for the last fields, whose end is `length`; used again for others. */
  private octets: Buffer | undefined;
  private length = 0;
  private minorVersion = 1;
  private section: HeadFields | undefined;

  /**
   * @param start of the request line
   * @param end after the line end of the last line
   * @throws Http1Fault
   */
  read(bytes: Buffer, start: number, end: number): RequestHead {
    const lineEnd = bytes.indexOf(LINE_END, start);
    const line = parseRequestLine(bytes.toString('latin1', start, lineEnd));
    return { line, section: this.readFields(bytes, lineEnd + LINE_END_OCTETS, end, line.minorVersion) };
  }

  /** Lets go of what was remembered: an idle connection holds nothing. */
  forget(): void {
    this.octets = this.section = undefined;
  }

  private readFields(bytes: Buffer, start: number, end: number, minorVersion: 0 | 1): HeadFields {
    const { octets, section } = this;
    const length = end - start;
    if (
      section !== undefined &&
      length === this.length &&
      minorVersion === this.minorVersion &&
      octets!.compare(bytes, start, end, 0, length) === 0
    ) {
      return section;
    }
    const fields: Fields = parseFields(bytes.toString('latin1', start, end));
    const read = { fields, meaning: undefined, ...framing(fields, minorVersion) };
    if (length <= REMEMBERED_OCTETS_MAX) {
      if (octets === undefined || octets.length < length) this.octets = Buffer.allocUnsafeSlow(roundUp(length));
      bytes.copy(this.octets!, 0, start, end);
      this.length = length;
      this.minorVersion = minorVersion;
      this.section = read;
    }
    return read;
  }
}

/** Fields that differ from request to request differ little in size. */
function roundUp(octets: number): number {
  return Math.ceil(octets / 256) * 256;
}

const LINE_END = Buffer.from('\r\n');
