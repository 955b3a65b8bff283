import type { ProtoWriter } from '../wire/proto-writer.js';

/** Writes `google.api.HttpBody`: content type (1) and data (2). */
export function writeHttpBody(w: ProtoWriter, contentType: string, data: Uint8Array): void {
  if (contentType !== '') {
    w.varint32(0x0a);
    w.string(contentType);
  }
  if (data.length > 0) {
    w.varint32(0x12);
    w.bytes(data, 0, data.length);
  }
}
