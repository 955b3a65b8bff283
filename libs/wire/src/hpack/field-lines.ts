/** Literal field lines of a connection and the fields they stood for. */
import type { Field } from '../fields.js';

/** A literal (RFC 7541 §6.2) without its first octets, which say how it is indexed and not what it means. */
interface Line {
  /** Of the table entry that the line names; undefined when the name stands in the octets. */
  readonly name: string | undefined;
  readonly octets: Buffer;
  readonly field: Field;
}

const LINES = 64;
const LINE_OCTETS_MAX = 1024;
const OCTETS_MAX = 16_384;

/**
 * Most fields of a request are those of the one before, and many clients never index the longest, `authorization`. A line whose
 * octets were seen before gives the same {@link Field}, the object, so that what was found out about it need not be again.
 * Bounded by {@link OCTETS_MAX} a connection.
 */
export class FieldLines {
  private lines: (Line | undefined)[] = [];
  private octets = 0;

  /** @returns the field of the octets from `start` to `end`, when they are known */
  find(name: string | undefined, bytes: Uint8Array, start: number, end: number): Field | undefined {
    const line = this.lines[slotOf(bytes, start, end)];
    if (line === undefined || line.name !== name || !sameOctets(line.octets, bytes, start, end)) return undefined;
    return line.field;
  }

  keep(name: string | undefined, bytes: Uint8Array, start: number, end: number, field: Field): void {
    const length = end - start;
    if (length > LINE_OCTETS_MAX) return;
    if (this.octets + length > OCTETS_MAX) this.forget();
    const slot = slotOf(bytes, start, end);
    this.octets += length - (this.lines[slot]?.octets.length ?? 0);
    this.lines[slot] = { name, octets: Buffer.from(bytes.subarray(start, end)), field };
  }

  forget(): void {
    if (this.octets === 0) return;
    this.lines = [];
    this.octets = 0;
  }
}

function slotOf(bytes: Uint8Array, start: number, end: number): number {
  return (bytes[start]! * 3 + bytes[end - 1]! + (end - start) * 7) & (LINES - 1);
}

/** From the end, where lines of one name differ first. */
function sameOctets(known: Buffer, bytes: Uint8Array, start: number, end: number): boolean {
  const { length } = known;
  if (length !== end - start) return false;
  for (let at = length - 1; at >= 0; at--) if (known[at] !== bytes[start + at]) return false;
  return true;
}
