import type { Field, Fields, FieldSection } from '../fields.js';
import { Decoder } from '../hpack/decoder.js';
import { FieldLines } from '../hpack/field-lines.js';
import { isFieldValue, pseudoCount } from './field-rules.js';
import { FieldSections } from './field-sections.js';

/** A decoded header section (RFC 9113 §8.1): what the frames HEADERS and CONTINUATION carried. */
export interface HeaderBlock {
  /** The pseudo-fields, in order. */
  readonly pseudo: Fields;
  /** The regular fields, in order. */
  readonly fields: Fields;
  /** The same, with what they mean to the reader of requests. */
  readonly section: FieldSection;
  /** Why the message is malformed, whatever its role; absent when it is not. */
  readonly fault: string | undefined;
  /** What `content-length` says; -1 without one. */
  readonly bodyLength: number;
  /** The list is larger than our SETTINGS_MAX_HEADER_LIST_SIZE, and cut. */
  readonly tooLarge: boolean;
}

/** A block seen before on this connection, and what it means. */
interface Remembered {
  readonly octets: Buffer;
  /** As long as the decoder has this generation; ALWAYS when the block does not refer to the dynamic table. */
  readonly generation: number;
  readonly block: HeaderBlock;
}

const ALWAYS = -1;
const REMEMBERED_BLOCKS = 16;
const REMEMBERED_OCTETS_MAX = 512;
/** After so many blocks in a row that were not known only one of so many is kept: where each has a path of its own, none returns. */
const MISSES_MAX = 32;
const KEPT_THEN = 16;

/**
 * Decodes the header blocks of one connection. Equal octets have equal meanings as long as the dynamic table stays as it is,
 * or is not referred to; most blocks repeat (a method's headers, `grpc-status: 0`), so the last ones are kept. Where only paths
 * differ, the fields behind them are found again.
 */
export class HeaderBlockReader {
  private readonly lines = new FieldLines();
  private readonly sections = new FieldSections();
  private readonly decoder = new Decoder(this.lines);
  private remembered: (Remembered | undefined)[] = [];
  private misses = 0;

  constructor(private readonly listBytesMax: number) {}

  /** The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE. */
  acknowledge(tableSize: number): void {
    this.decoder.acknowledge(tableSize);
  }

  /** Lets go of what was remembered: an idle connection holds nothing. */
  forget(): void {
    if (this.remembered.length > 0) this.remembered = [];
    this.lines.forget();
    this.sections.forget();
  }

  /** @throws CompressionError; the connection cannot go on. */
  read(bytes: Buffer, start: number, end: number): HeaderBlock {
    const { decoder } = this;
    const length = end - start;
    if (decoder.awaitsUpdate || length === 0 || length > REMEMBERED_OCTETS_MAX) return this.decode(bytes, start, end);
    const slot = (length * 5 + bytes[end - 1]! + bytes[start + (length >>> 1)]! * 3) & (REMEMBERED_BLOCKS - 1);
    const known = this.remembered[slot];
    const { generation } = decoder;
    if (
      known !== undefined &&
      (known.generation === ALWAYS || known.generation === generation) &&
      sameOctets(known.octets, bytes, start, length)
    ) {
      this.misses = 0;
      return known.block;
    }
    const block = this.decode(bytes, start, end);
    // A block that changes the table must be decoded each time.
    if (decoder.generation === generation && (++this.misses <= MISSES_MAX || this.misses % KEPT_THEN === 0)) {
      const octets = Buffer.from(bytes.subarray(start, end));
      this.remembered[slot] = { octets, generation: decoder.usedTable ? generation : ALWAYS, block };
    }
    return block;
  }

  private decode(bytes: Buffer, start: number, end: number): HeaderBlock {
    const fields: Field[] = [];
    const size = this.decoder.decode(bytes, start, end, fields, this.listBytesMax);
    const count = pseudoCount(fields);
    const section = this.sections.of(fields, count);
    let { fault } = section;
    fields.length = count;
    for (const [, value] of fields) if (!isFieldValue(value)) fault = 'an illegal value of a pseudo-field';
    const { bodyLength } = section;
    return { pseudo: fields, fields: section.fields, section, fault, bodyLength, tooLarge: size > this.listBytesMax };
  }
}

function sameOctets(known: Buffer, bytes: Buffer, start: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let at = 0; at < length; at++) if (known[at] !== bytes[start + at]) return false;
  return true;
}
