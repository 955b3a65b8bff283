import { Metadata } from '@grpc/grpc-js';
import { Status, type Fields } from '@sluice/wire';
import { fieldsOf } from './metadata.js';

/** What a handler's error says, in the terms of the trailers. */
export interface FinalStatus {
  readonly code: number;
  readonly message: string;
  readonly metadata: Fields;
}

/** As grpc-js reads errors: `code`, `details` or `message`, `metadata`; anything else is UNKNOWN. */
export function statusOf(thrown: unknown): FinalStatus {
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Record<string, unknown>;
  const { code, details, message, metadata } = error;
  return {
    code: Number.isInteger(code) && (code as number) >= 0 && (code as number) <= 16 ? (code as number) : Status.UNKNOWN,
    message: typeof details === 'string' ? details : typeof message === 'string' ? message : 'Unknown Error',
    metadata: metadata instanceof Metadata ? fieldsOf(metadata) : [],
  };
}
