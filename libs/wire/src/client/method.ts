import { FIELD_OCTETS_EXTRA, writeField } from '../hpack/encoder.js';
import type { Field } from '../fields.js';

/** A method's header fields, encoded once. Made by `Channel.method`, good for that channel only. */
export interface MethodHandle {
  readonly path: string;
}

/** What a handle holds: the header fields that every request of a method begins with. */
export class EncodedMethod implements MethodHandle {
  /** With gRPC's own fields: for calls. */
  readonly callHead: Uint8Array;
  /** Without: for relayed streams, which bring theirs. */
  readonly relayHead: Uint8Array;

  /** @throws TypeError when the path is not `/service/method` in visible ASCII. */
  constructor(
    readonly path: string,
    authority: string,
    secure: boolean,
  ) {
    if (!/^\/[!-~]+$/.test(path)) throw new TypeError(`wire: "${path}" is not a method's path`);
    const request: Field[] = [
      [':method', 'POST'],
      [':scheme', secure ? 'https' : 'http'],
      [':path', path],
      [':authority', authority],
      ['te', 'trailers'],
    ];
    this.relayHead = encode(request);
    this.callHead = encode([
      ...request,
      ['content-type', 'application/grpc'],
      ['grpc-accept-encoding', 'identity,gzip'],
    ]);
  }
}

function encode(fields: readonly Field[]): Uint8Array {
  let room = 0;
  for (const [name, value] of fields) room += name.length + value.length + FIELD_OCTETS_EXTRA;
  const target = Buffer.alloc(room);
  let at = 0;
  for (const [name, value] of fields) at = writeField(target, at, name, value);
  return Uint8Array.from(target.subarray(0, at));
}
