import { ScalarType, type DescMessage } from '@bufbuild/protobuf';

/** The number of a field that is one text; undefined when the message has none of that name. */
export function textField(message: DescMessage, name: string): number | undefined {
  const field = message.fields.find((each) => each.name === name);
  return field?.fieldKind === 'scalar' && field.scalar === ScalarType.STRING ? field.number : undefined;
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP = 3;
const GROUP_END = 4;
const FIXED32 = 5;

/**
 * The text of a field of an encoded message (https://protobuf.dev/programming-guides/encoding): of several the last one counts.
 * Empty when it is not there. What cannot be read ends the search: the service that gets the message says so.
 */
export function textOf(message: Uint8Array, field: number): string {
  let at = 0;
  let groups = 0;
  let found: Uint8Array | undefined;
  /** A varint; only the lower 32 bits count, since no message is longer. -1 when it does not end. */
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70 && at < message.length; shift += 7) {
      const octet = message[at++]!;
      if (shift < 32) value |= (octet & 0x7f) << shift;
      if (octet < 0x80) return value >>> 0;
    }
    return -1;
  };
  while (at < message.length) {
    const tag = varint();
    if (tag === -1) break;
    switch (tag & 7) {
      case VARINT:
        varint();
        break;
      case FIXED64:
        at += 8;
        break;
      case LENGTH: {
        const length = varint();
        if (length === -1 || at + length > message.length) return textFrom(found);
        if (tag >>> 3 === field && groups === 0) found = message.subarray(at, at + length);
        at += length;
        break;
      }
      case GROUP:
        groups++;
        break;
      case GROUP_END:
        groups--;
        break;
      case FIXED32:
        at += 4;
        break;
      default:
        return textFrom(found);
    }
  }
  return textFrom(found);
}

function textFrom(octets: Uint8Array | undefined): string {
  return octets === undefined ? '' : Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString();
}
