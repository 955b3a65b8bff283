import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** A message of fields that are text or messages, in the order in which they are written. */
export function bytesOf(...fields: readonly (readonly [number, string | Uint8Array | number])[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    if (typeof value === 'number') writer.tag(number, WireType.Varint).int64(value);
    else if (typeof value === 'string') writer.tag(number, WireType.LengthDelimited).string(value);
    else writer.tag(number, WireType.LengthDelimited).bytes(value);
  }
  return writer.finish();
}

/** A `google.rpc.Status` with details, as `grpc-status-details-bin` carries it: base64 without padding. */
export function statusDetails(
  code: number,
  message: string,
  details: readonly (readonly [string, Uint8Array])[],
): string {
  const anys = details.map(([type, value]) => [3, bytesOf([1, `type.googleapis.com/${type}`], [2, value])] as const);
  const status = bytesOf([1, code], [2, message], ...anys);
  return Buffer.from(status).toString('base64').replaceAll('=', '');
}
