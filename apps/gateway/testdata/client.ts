import { connect } from 'node:http2';

export type Protocol = 'HTTP/1.1' | 'HTTP/2';
export const protocols: readonly Protocol[] = ['HTTP/1.1', 'HTTP/2'];

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly fields?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface Answer {
  readonly status: number;
  readonly fields: Readonly<Record<string, string | readonly string[]>>;
  readonly body: Buffer;
  /** The body as JSON. */
  readonly json: Record<string, unknown>;
  readonly trailers: Readonly<Record<string, string>>;
}

/** One well-formed request over either protocol. */
export function ask(port: number, protocol: Protocol, request: Ask): Promise<Answer> {
  return protocol === 'HTTP/2' ? askHttp2(port, request) : askHttp1(port, request);
}

async function askHttp1(port: number, { method = 'GET', path, fields = {}, body }: Ask): Promise<Answer> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const headers = { ...fields, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) };
    const sent = request({ port, host: '127.0.0.1', method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const whole = response.headers as Record<string, string | string[]>;
        resolve(answerOf(response.statusCode!, whole, chunks, response.trailers as Record<string, string>));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function askHttp2(port: number, { method = 'GET', path, fields = {}, body }: Ask): Promise<Answer> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject);
      const stream = session.request(
        { ':method': method, ':path': path, ...fields },
        { endStream: body === undefined },
      );
      const chunks: Buffer[] = [];
      let status = 0;
      let head: Record<string, string | string[]> = {};
      let trailers: Record<string, string> = {};
      stream.on('response', (received) => {
        status = received[':status']!;
        head = received as Record<string, string | string[]>;
      });
      stream.on('trailers', (received) => (trailers = received as Record<string, string>));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () => resolve(answerOf(status, head, chunks, trailers)));
      if (body !== undefined) stream.end(body);
    });
  } finally {
    session.close();
  }
}

function answerOf(
  status: number,
  fields: Record<string, string | string[]>,
  chunks: Buffer[],
  trailers: Record<string, string>,
): Answer {
  const body = Buffer.concat(chunks);
  return {
    status,
    fields,
    body,
    get json() {
      return JSON.parse(body.toString());
    },
    trailers,
  };
}
