import { httpDate } from './date.js';
import type { Fields } from './fields.js';
import { FIELD_OCTETS_EXTRA, writeField } from './hpack/encoder.js';
import { fieldLines, statusLine } from './http1/response-head.js';

/** Header fields that many responses begin with, encoded once for each status and either protocol. */
export class FixedFields {
  private readonly http1 = new Map<number, Uint8Array>();
  private readonly http2 = new Map<number, Uint8Array>();
  private readonly lines: string;
  private readonly dated: boolean;
  /** What `http2` was made with. */
  private date = '';

  /**
   * @param options `dated`: over HTTP/2 `Date` stands among them, as a server with a clock says it (RFC 9110 section 6.6.1).
   *   Over HTTP/1.1 every head ends with it.
   * @throws TypeError for fields that must not travel, such as one with a line end in its value
   */
  constructor(
    readonly fields: Fields,
    { dated = false } = {},
  ) {
    this.lines = fieldLines(fields);
    this.dated = dated;
  }

  /**
   * A status line and the fields (RFC 9112 sections 4 and 5).
   * @throws TypeError when this is no status
   */
  http1Head(status: number): Uint8Array {
    let head = this.http1.get(status);
    if (head === undefined) this.http1.set(status, (head = octets(statusLine(status) + this.lines)));
    return head;
  }

  /**
   * `:status` and the fields, as the beginning of a header block (RFC 9113 section 8.3.2).
   * @throws TypeError when this is no status that HTTP/2 can carry
   */
  http2Head(status: number): Uint8Array {
    if (this.dated && this.date !== httpDate()) {
      this.date = httpDate();
      this.http2.clear();
    }
    let head = this.http2.get(status);
    if (head === undefined) this.http2.set(status, (head = headerBlock(status, this.ownFields())));
    return head;
  }

  private ownFields(): Fields {
    return this.dated ? [...this.fields, ['date', this.date]] : this.fields;
  }
}

/** For responses whose fields are all their own. */
export const NO_FIXED_FIELDS = new FixedFields([]);

/** Not of the pool: what is kept would keep the buffers of a moment with it. */
function octets(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

function headerBlock(status: number, fields: Fields): Uint8Array {
  if (!Number.isInteger(status) || status < 100 || status > 599 || status === 101) {
    throw new TypeError(`wire: ${status} is not a status that HTTP/2 can carry`);
  }
  const all: Fields = [[':status', String(status)], ...fields];
  const room = all.reduce((sum, [name, value]) => sum + name.length + value.length + FIELD_OCTETS_EXTRA, 0);
  const target = Buffer.alloc(room);
  let at = 0;
  for (const [name, value] of all) at = writeField(target, at, name, value);
  return Uint8Array.from(target.subarray(0, at));
}
