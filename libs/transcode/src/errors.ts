/** Why a request or an upstream's message could not be transcoded. The set is closed. */
export type TranscodeErrorCode =
  /** The body is not JSON, is nested too deep, or is not UTF-8. 400. */
  | 'INVALID_JSON'
  /** A member, query parameter or form field that the message does not have. 400. */
  | 'UNKNOWN_FIELD'
  /** A value that its field cannot take. 400. */
  | 'INVALID_VALUE'
  /** The same member twice, two members of one oneof, or a field that the path binds already. 400. */
  | 'DUPLICATE_FIELD'
  /** A proto2 required field is absent. 400. */
  | 'MISSING_FIELD'
  /** A path variable or the query is not valid percent-encoded UTF-8. 400. */
  | 'INVALID_PATH'
  /** The rule takes no body and the request has one. 400. */
  | 'UNEXPECTED_BODY'
  /** One item of a client stream is longer than allowed. 413. */
  | 'ITEM_TOO_LARGE'
  /** The request's Content-Type is neither JSON nor a form, or not in UTF-8. 415. */
  | 'UNSUPPORTED_MEDIA_TYPE'
  /** No form that the client accepts can be produced. 406. */
  | 'NOT_ACCEPTABLE'
  /** The upstream's message cannot be read as its type, or has no JSON form. 500, as INTERNAL over gRPC. */
  | 'INVALID_MESSAGE';

/** Where in a request body a fault is: `offset` in bytes from 0, `line` and `column` (in characters) from 1. */
export interface Position {
  offset: number;
  line: number;
  column: number;
}

/** The HTTP status that each code stands for. */
export const transcodeErrorStatus: Readonly<Record<TranscodeErrorCode, number>> = {
  INVALID_JSON: 400,
  UNKNOWN_FIELD: 400,
  INVALID_VALUE: 400,
  DUPLICATE_FIELD: 400,
  MISSING_FIELD: 400,
  INVALID_PATH: 400,
  UNEXPECTED_BODY: 400,
  ITEM_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  NOT_ACCEPTABLE: 406,
  INVALID_MESSAGE: 500,
};

/**
 * A request that cannot become a message, or a message that cannot become a response. The text is bounded and safe to
 * show to the caller, except for `INVALID_MESSAGE`, which speaks of the upstream and belongs in the log.
 */
export class TranscodeError extends Error {
  override readonly name = 'TranscodeError';

  constructor(
    readonly code: TranscodeErrorCode,
    message: string,
    /** The field as the caller wrote it: `items[2].price`, or the name of the query parameter or path variable. */
    readonly field?: string,
    readonly position?: Position,
  ) {
    super(message);
  }

  get status(): number {
    return transcodeErrorStatus[this.code];
  }
}

/** A descriptor set or an HTTP rule that cannot be used. The text names file, method and rule, and is for the operator. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
}

/** A caller's text, cut to a length that fits an error message. */
export function shorten(text: string, max = 64): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}
