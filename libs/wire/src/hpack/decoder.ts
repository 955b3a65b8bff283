/**
 * Decoding of header blocks (RFC 7541 §3 and §6). The representations by their first octet:
 *
 *   1xxxxxxx   indexed field (§6.1)
 *   01xxxxxx   literal with incremental indexing (§6.2.1)
 *   001xxxxx   dynamic table size update, only at the start of a block (§6.3, §4.2)
 *   0001xxxx   literal never indexed (§6.2.3)
 *   0000xxxx   literal without indexing (§6.2.2)
 */
import type { Field } from '../fields.js';
import { CompressionError } from './compression-error.js';
import { DynamicTable, FIELD_OVERHEAD } from './dynamic-table.js';
import type { FieldLines } from './field-lines.js';
import { huffmanDecode } from './huffman.js';
import { readInteger, type Cursor } from './integer.js';
import { readLatin1 } from './latin1.js';
import { STATIC_TABLE } from './static-table.js';

/** The protocol's initial value of SETTINGS_HEADER_TABLE_SIZE (RFC 9113 §6.5.2). */
const INITIAL_TABLE_SIZE = 4096;

const STATIC_COUNT = STATIC_TABLE.length;
/** Up to here the static table has pseudo-fields. */
const PSEUDO_COUNT = 14;

export class Decoder implements Cursor {
  /** The cursor over the block being decoded. */
  bytes: Uint8Array = EMPTY;
  at = 0;
  end = 0;

  private readonly table = new DynamicTable(INITIAL_TABLE_SIZE);
  /** The block being decoded refers to the dynamic table. */
  private dynamic = false;
  /** What our acknowledged SETTINGS_HEADER_TABLE_SIZE allows the peer. */
  private allowed = INITIAL_TABLE_SIZE;
  /** Our acknowledged setting is below the table's size: the next block must start with a size update (RFC 9113 §4.3.1). */
  private updateDue = false;
  private skipped = false;

  /** @param lines literals that are decoded once; absent: each is decoded anew */
  constructor(private readonly lines?: FieldLines) {}

  /** Changes whenever the same octets may mean other fields than before. */
  get generation(): number {
    return this.table.generation;
  }

  /** Whether the meaning of the last block depends on the dynamic table. */
  get usedTable(): boolean {
    return this.dynamic;
  }

  /** The next block must begin with a size update. */
  get awaitsUpdate(): boolean {
    return this.updateDue;
  }

  /** The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE. */
  acknowledge(tableSize: number): void {
    this.allowed = tableSize;
    this.updateDue = this.table.maxSize > tableSize;
  }

  /**
   * Appends the fields of a whole block to `fields`, as long as their size stays within `listBytesMax` (counted as
   * RFC 9113 §6.5.2 does); what lies beyond is decoded for the table's sake and dropped.
   * @returns the size of the whole list.
   * @throws CompressionError; the connection cannot go on.
   */
  decode(bytes: Uint8Array, start: number, end: number, fields: Field[], listBytesMax: number): number {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.dynamic = false;
    this.readSizeUpdates();
    let size = 0;
    while (this.at < end) {
      const octet = bytes[this.at]!;
      // Once the list is too large, text that no table needs is not even made.
      this.skipped = size > listBytesMax;
      let field: Field;
      if (octet >= 0x80) {
        field = this.entry(readInteger(this, 7));
      } else if (octet >= 0x40) {
        this.skipped = false;
        field = this.literal(6);
        this.table.insert(field);
      } else if (octet >= 0x20) {
        throw new CompressionError('a table size update after the start of a block');
      } else {
        field = this.literal(4);
      }
      size += field[0].length + field[1].length + FIELD_OVERHEAD;
      if (size <= listBytesMax) fields.push(field);
    }
    this.bytes = EMPTY;
    return size;
  }

  private readSizeUpdates(): void {
    while (this.at < this.end && (this.bytes[this.at]! & 0xe0) === 0x20) {
      const size = readInteger(this, 5);
      if (size > this.allowed) throw new CompressionError('a table size update above the acknowledged setting');
      this.table.resize(size);
      this.updateDue = false;
    }
    if (this.updateDue) throw new CompressionError('the table size update that a smaller setting calls for is missing');
  }

  private entry(index: number): Field {
    if (index === 0) throw new CompressionError('index 0');
    if (index <= STATIC_COUNT) return STATIC_TABLE[index - 1]!;
    this.dynamic = true;
    const field = this.table.get(index - STATIC_COUNT - 1);
    if (field === undefined) throw new CompressionError('an index beyond the tables');
    return field;
  }

  private literal(prefixBits: number): Field {
    const index = readInteger(this, prefixBits);
    const name = index === 0 ? undefined : this.entry(index)[0];
    const { lines, at: start } = this;
    // Pseudo-fields hardly repeat, but as whole blocks do.
    if (lines === undefined || this.skipped || (index > 0 && index <= PSEUDO_COUNT)) return this.read(name);
    if (name === undefined) this.skipText();
    this.skipText();
    const { bytes, at: end } = this;
    const known = lines.find(name, bytes, start, end);
    if (known !== undefined) return known;
    this.at = start;
    const field = this.read(name);
    lines.keep(name, bytes, start, end, field);
    return field;
  }

  private read(name: string | undefined): Field {
    return [name ?? this.text(), this.text()];
  }

  private skipText(): void {
    const length = readInteger(this, 7);
    this.at += length;
    if (this.at > this.end) throw new CompressionError('the block ends inside a string');
  }

  /** A string literal (§5.2), as latin1. */
  private text(): string {
    if (this.at >= this.end) throw new CompressionError('the block ends before a string');
    const huffman = this.bytes[this.at]! >= 0x80;
    const length = readInteger(this, 7);
    const start = this.at;
    const end = start + length;
    if (end > this.end) throw new CompressionError('the block ends inside a string');
    this.at = end;
    if (this.skipped) return '';
    return huffman ? huffmanDecode(this.bytes, start, end) : readLatin1(this.bytes, start, end);
  }
}

const EMPTY = new Uint8Array(0);
