import type { Field, Fields, FieldSection } from '../fields.js';
import { Decoder } from '../hpack/decoder.js';
import { contentLength, fieldFault, isFieldValue, pseudoCount } from './field-rules.js';

/** A decoded header section (RFC 9113 §8.1): what the frames HEADERS and CONTINUATION carried. */
export interface HeaderBlock extends FieldSection {
  /** The pseudo-fields, in order. */
  readonly pseudo: Fields;
  /** The regular fields, in order. */
  readonly fields: Fields;
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

/**
 * Decodes the header blocks of one connection. Equal octets have equal meanings as long as the dynamic table stays as it is,
 * or is not referred to; most blocks repeat (a method's headers, `grpc-status: 0`), so the last ones are kept.
 */
export class HeaderBlockReader {
  private readonly decoder = new Decoder();
  private remembered: (Remembered | undefined)[] = [];

  constructor(private readonly listBytesMax: number) {}

  /** The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE. */
  acknowledge(tableSize: number): void {
    this.decoder.acknowledge(tableSize);
  }

  /** Lets go of what was remembered: an idle connection holds nothing. */
  forget(): void {
    if (this.remembered.length > 0) this.remembered = [];
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
      return known.block;
    }
    const block = this.decode(bytes, start, end);
    // A block that changes the table must be decoded each time.
    if (decoder.generation === generation) {
      const octets = Buffer.from(bytes.subarray(start, end));
      this.remembered[slot] = { octets, generation: decoder.usedTable ? generation : ALWAYS, block };
    }
    return block;
  }

  private decode(bytes: Buffer, start: number, end: number): HeaderBlock {
    const fields: Field[] = [];
    const size = this.decoder.decode(bytes, start, end, fields, this.listBytesMax);
    const pseudo = fields.splice(0, pseudoCount(fields));
    const bodyLength = contentLength(fields) ?? -1;
    let fault = fieldFault(fields);
    if (Number.isNaN(bodyLength)) fault = 'an illegal content-length';
    for (const [, value] of pseudo) if (!isFieldValue(value)) fault = 'an illegal value of a pseudo-field';
    return { pseudo, fields, fault, bodyLength, tooLarge: size > this.listBytesMax, meaning: undefined };
  }
}

function sameOctets(known: Buffer, bytes: Buffer, start: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let at = 0; at < length; at++) if (known[at] !== bytes[start + at]) return false;
  return true;
}
