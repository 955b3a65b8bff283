/** Why a request cannot be served. The connection ends with the answer, since nobody knows where the next request begins. */
export class Http1Fault extends Error {
  constructor(
    /** The status that RFC 9110 section 15.5 gives such a request. */
    readonly status: 400 | 405 | 408 | 413 | 417 | 431 | 501 | 505,
    message: string,
  ) {
    super(message);
  }
}

export function malformed(message: string): Http1Fault {
  return new Http1Fault(400, message);
}
