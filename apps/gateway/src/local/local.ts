import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Exchange } from '../exchange.js';
import type { MethodInfo } from '@sluice/transcode';

/** What a method of the gateway itself answers: an HTTP status and the fields of its response message. */
export interface LocalAnswer {
  readonly status: number;
  readonly message: object;
}

/** A method that the gateway serves itself. */
export type LocalMethod = (exchange: Exchange) => Promise<LocalAnswer> | LocalAnswer;

/** The answer's message in protobuf, as an upstream would have sent it. */
export function encodeAnswer(method: MethodInfo, answer: LocalAnswer): Uint8Array {
  const output = method.desc.output;
  return toBinary(output, create(output, answer.message as MessageInitShape<typeof output>));
}
