/**
 * The body of `application/grpc-web-text`: base64 text that may be cut anywhere, and in which padding may stand wherever
 * a frame ended (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).
 */

const ALPHABET = /^[A-Za-z0-9+/=\r\n]*$/;

export class Base64Decoder {
  private rest = '';

  /** The bytes that are complete; undefined when the text is not base64. */
  push(chunk: Buffer): Buffer | undefined {
    const arrived = chunk.toString('latin1');
    if (!ALPHABET.test(arrived)) return undefined;
    const text = this.rest + arrived.replaceAll(/[\r\n]/g, '');
    const whole = text.length - (text.length % 4);
    this.rest = text.slice(whole);
    const parts: Buffer[] = [];
    for (const group of text.slice(0, whole).match(/[^=]+={0,2}/g) ?? []) parts.push(Buffer.from(group, 'base64'));
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** Whether the text ended where it may: after a whole group of four characters. */
  get whole(): boolean {
    return this.rest === '';
  }
}

export class Base64Encoder {
  private rest: Buffer = Buffer.alloc(0);

  /** The text of as many bytes as fill whole groups of four characters. */
  push(chunk: Buffer): Buffer {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const whole = bytes.length - (bytes.length % 3);
    this.rest = Buffer.from(bytes.subarray(whole));
    return Buffer.from(bytes.toString('base64', 0, whole));
  }

  end(): Buffer {
    return Buffer.from(this.rest.toString('base64'));
  }
}
