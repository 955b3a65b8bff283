import { gunzipSync } from 'node:zlib';
import { Problem } from '@sluice/problem';
import type { Fields } from '@sluice/wire';
import type { ConnectError } from './error.js';

const PREFIX_OCTETS = 5;
/** Flags of an envelope: https://connectrpc.com/docs/protocol, "Streaming RPCs". */
const COMPRESSED = 1;
const END_OF_STREAM = 2;

/** A message of a stream: flags, the length in four octets, the message. */
export function envelope(message: Uint8Array, flags = 0): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_OCTETS + message.length);
  framed[0] = flags;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_OCTETS);
  return framed;
}

/** What ends every stream: the error, if there is one, and the trailers. */
export function endOfStream(error: ConnectError | undefined, trailers: Fields): Buffer {
  const metadata: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of trailers) (metadata[name] ??= []).push(value);
  const end = { ...(error && { error }), ...(trailers.length > 0 && { metadata }) };
  return envelope(Buffer.from(JSON.stringify(end)), END_OF_STREAM);
}

/** Takes the messages of a request stream out of their envelopes. */
export class EnvelopeReader {
  private unread: Buffer[] = [];
  private octets = 0;

  /**
   * @param messageMax octets of a message, before and after decoding
   * @param encoding `connect-content-encoding` of the request
   */
  constructor(
    private readonly messageMax: number,
    private readonly encoding: string | undefined,
  ) {
    if (encoding !== undefined && encoding !== 'identity' && encoding !== 'gzip') {
      throw new Problem('UNIMPLEMENTED', 'connect-content-encoding: expected gzip or identity.', {
        headers: { 'connect-accept-encoding': 'gzip' },
      });
    }
  }

  /** Octets of an envelope whose end has not come. */
  get held(): number {
    return this.octets;
  }

  /** @throws Problem */
  push(chunk: Buffer): Buffer[] {
    this.unread.push(Buffer.from(chunk));
    this.octets += chunk.length;
    const messages: Buffer[] = [];
    for (;;) {
      const message = this.next();
      if (!message) return messages;
      messages.push(message);
    }
  }

  /** @throws Problem when the request ends within an envelope */
  end(): void {
    if (this.octets > 0) throw new Problem('MALFORMED_REQUEST', 'The request ended inside an envelope.');
  }

  private next(): Buffer | undefined {
    if (this.octets < PREFIX_OCTETS) return undefined;
    const prefix = this.first(PREFIX_OCTETS);
    const flags = prefix[0]!;
    const length = prefix.readUInt32BE(1);
    if (flags > COMPRESSED)
      throw new Problem('MALFORMED_REQUEST', `An envelope has the flags ${flags}; expected 0 or 1.`);
    if (length > this.messageMax) throw tooLarge(this.messageMax);
    if (this.octets < PREFIX_OCTETS + length) return undefined;
    const whole = this.first(PREFIX_OCTETS + length);
    const message = whole.subarray(PREFIX_OCTETS, PREFIX_OCTETS + length);
    const rest = whole.subarray(PREFIX_OCTETS + length);
    this.unread = [rest, ...this.unread.slice(1)];
    this.octets -= PREFIX_OCTETS + length;
    return flags === COMPRESSED ? this.decoded(message) : message;
  }

  /** The first piece, made as long as asked for by joining those after it. */
  private first(octets: number): Buffer {
    if (this.unread[0]!.length < octets) this.unread = [Buffer.concat(this.unread)];
    return this.unread[0]!;
  }

  private decoded(message: Buffer): Buffer {
    if (this.encoding !== 'gzip') {
      throw new Problem('MALFORMED_REQUEST', 'A message is compressed, but connect-content-encoding does not say how.');
    }
    return gunzip(message, this.messageMax);
  }
}

/** @throws Problem when it is no gzip, or larger than allowed */
export function gunzip(bytes: Buffer, most: number): Buffer {
  try {
    return bytes.length === 0 ? bytes : gunzipSync(bytes, { maxOutputLength: most });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(most);
    throw new Problem('MALFORMED_REQUEST', 'The message is not gzip.', { cause: error });
  }
}

function tooLarge(most: number): Problem {
  return new Problem('PAYLOAD_TOO_LARGE', `A message is larger than ${most} bytes.`, {
    details: { limit_bytes: most },
  });
}
