import type { DescMessage } from '@bufbuild/protobuf';
import { messageCodecs, type MessageCodec } from '@sluice/transcode';
import { jsonOptionsOf } from '../upstream/json-options.js';
import type { Upstream } from '../upstream/upstream.js';

/** What a message is on the client's side, and on the service's. */
export interface ConnectCodec {
  /** The message as protobuf; its own memory. @throws TranscodeError */
  decode(bytes: Buffer): Uint8Array;
  /** @throws TranscodeError */
  encode(message: Uint8Array): Uint8Array;
}

const byUpstream = new WeakMap<Upstream, (desc: DescMessage) => MessageCodec>();

/** Members that the schema does not have are left out, as in other servers of the protocol. */
function jsonCodecs(upstream: Upstream): (desc: DescMessage) => MessageCodec {
  let codecs = byUpstream.get(upstream);
  if (!codecs)
    byUpstream.set(upstream, (codecs = messageCodecs(upstream.schema, jsonOptionsOf(upstream.config), true)));
  return codecs;
}

/** @param codec the one that the client writes in, and reads */
export function connectCodec(
  codec: 'json' | 'proto',
  upstream: Upstream,
  { input, output }: { readonly input: DescMessage; readonly output: DescMessage },
): ConnectCodec {
  if (codec === 'proto') return { decode: (bytes) => Uint8Array.from(bytes), encode: (message) => message };
  const codecs = jsonCodecs(upstream);
  return {
    decode: (bytes) => (bytes.length === 0 ? NOTHING : codecs(input).fromJson(bytes)),
    encode: (message) => codecs(output).toJson(message),
  };
}

const NOTHING = new Uint8Array(0);
