import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Problem } from '@sluice/problem';
import { loadSchema, type MethodInfo } from '@sluice/transcode';
import { ownDescriptorSet } from './grpc-services.binpb.js';
import type { OwnMethod } from './grpc-call.js';

/** The gRPC services that the gateway itself answers. */
export const ownSchema = loadSchema(ownDescriptorSet, 'the gateway');

/** A method of them, and what serves it. */
export interface OwnGrpcMethod {
  readonly method: MethodInfo;
  readonly open: OwnMethod;
}

/** @param path of a method in {@link ownSchema} */
export function ownMethod(path: string, open: (method: MethodInfo) => OwnMethod): OwnGrpcMethod {
  const method = ownSchema.methods.get(path);
  if (!method) throw new Error(`the gateway has no method ${path}`);
  return { method, open: open(method) };
}

/** Fields of a message whose type only its descriptor tells. */
export type Message = Record<string, unknown>;

/** @throws Problem MALFORMED_REQUEST */
export function decode(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes) as unknown as Message;
  } catch (error) {
    throw new Problem('MALFORMED_REQUEST', `The message is no ${desc.typeName}.`, { cause: error });
  }
}

export function encode(desc: DescMessage, fields: Message): Uint8Array {
  return toBinary(desc, create(desc, fields as MessageInitShape<DescMessage>));
}
