import { FIELD_OCTETS_EXTRA, writeField } from '../hpack/encoder.js';
import type { Field, Fields } from '../fields.js';

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

  private constructor(
    readonly path: string,
    callHead: Uint8Array,
    relayHead: Uint8Array,
  ) {
    this.callHead = callHead;
    this.relayHead = relayHead;
  }

  /** @throws TypeError when the path is not `/service/method` in visible ASCII. */
  static of(path: string, authority: string, secure: boolean): EncodedMethod {
    if (!/^\/[!-~]+$/.test(path)) throw new TypeError(`wire: "${path}" is not a method's path`);
    const request: Field[] = [
      [':method', 'POST'],
      [':scheme', secure ? 'https' : 'http'],
      [':path', path],
      [':authority', authority],
      ['te', 'trailers'],
    ];
    const ofCalls: Field[] = [
      ['content-type', 'application/grpc'],
      ['grpc-accept-encoding', 'identity,gzip'],
    ];
    return new EncodedMethod(path, encode([...request, ...ofCalls]), encode(request));
  }

  /** The same method with metadata that all its calls have. The caller has made sure that they may travel. */
  with(metadata: Fields): EncodedMethod {
    const octets = encode(metadata);
    return new EncodedMethod(
      this.path,
      Buffer.concat([this.callHead, octets]),
      Buffer.concat([this.relayHead, octets]),
    );
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
