/** How the requests to one resource begin. What says who asks is written into it once, and again when that changes. */
export class RequestHead {
  private fields: string | undefined;
  private written = '';
  private writtenAlone = '';

  /**
   * @param path ASCII, percent-encoded
   * @param accept '' leaves it to the server
   */
  constructor(
    readonly method: 'GET' | 'POST' | 'DELETE',
    readonly path: string,
    private readonly accept = '',
  ) {}

  /** The request line and its fields, without the empty line. @param fields of the user, each a line */
  lines(authority: string, fields: string): string {
    if (fields !== this.fields) this.write(authority, fields);
    return this.written;
  }

  /** The same with the empty line: a request without a body, as it is sent. */
  alone(authority: string, fields: string): string {
    if (fields !== this.fields) this.write(authority, fields);
    return this.writtenAlone;
  }

  private write(authority: string, fields: string): void {
    this.fields = fields;
    const accept = this.accept === '' ? '' : `accept: ${this.accept}\r\n`;
    this.written = `${this.method} ${this.path} HTTP/1.1\r\nhost: ${authority}\r\n${fields}${accept}`;
    this.writtenAlone = `${this.written}\r\n`;
  }
}

export interface Request {
  readonly head: RequestHead;
  /** JSON. */
  readonly body?: string;
  /** Whether the text of an answer of 2xx is of interest, not just its end. */
  readonly keep: 'all' | 'last line' | 'nothing';
}

/** Fields that say where a request ends or goes to: the transport's own. */
const OWN_FIELDS = new Set(['connection', 'content-length', 'host', 'transfer-encoding']);

/** Whether this may be a field of a request: nothing that could begin another one. */
export function isField(name: string, value: unknown): boolean {
  const named = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && !OWN_FIELDS.has(name.toLowerCase());
  return named && typeof value === 'string' && /^[\t\x20-\x7e]*$/.test(value);
}
