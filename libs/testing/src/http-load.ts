import { connect, type Socket } from 'node:net';

export interface HttpLoad {
  port: number;
  method: string;
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Keep-alive connections, each with one request at a time. */
  connections: number;
}

/**
 * Sends `calls` equal requests over HTTP/1.1 keep-alive and waits for all answers: as little client as possible, so that the machine's time
 * goes to what is measured.
 *
 * @throws when an answer is not 200, or has neither a length nor chunks
 */
export async function httpLoad(load: HttpLoad, calls: number): Promise<void> {
  const request = requestText(load);
  let left = calls;
  const next = () => left-- > 0;
  const connections = Array.from({ length: Math.min(load.connections, calls) }, () => run(load.port, request, next));
  await Promise.all(connections);
}

function requestText({ method, path, headers, body = '', port }: HttpLoad): string {
  const fields = {
    host: `127.0.0.1:${port}`,
    ...headers,
    ...(body && { 'content-length': String(Buffer.byteLength(body)) }),
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}

function run(port: number, request: string, next: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!next()) return resolve();
    const socket: Socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.setNoDelay(true);
    let pending = '';
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection')));
    socket.on('data', (chunk) => {
      // Bodies of benchmarks are ASCII: a character is an octet.
      pending += chunk.toString('latin1');
      const end = answerEnd(pending);
      if (end === -1 || pending.length < end) return;
      if (!pending.startsWith('HTTP/1.1 200')) {
        socket.destroy(new Error(`not 200: ${pending.slice(0, 300)}`));
        return;
      }
      pending = pending.slice(end);
      if (next()) socket.write(request);
      else {
        socket.removeAllListeners('close');
        socket.end();
        resolve();
      }
    });
  });
}

/** Where the first answer in `text` ends; -1 when that cannot be told yet. */
function answerEnd(text: string): number {
  const head = text.indexOf('\r\n\r\n');
  if (head === -1) return -1;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head + 2))?.[1];
  if (length !== undefined) return head + 4 + Number(length);
  const lastChunk = text.indexOf('\r\n0\r\n\r\n', head + 2);
  return lastChunk === -1 ? -1 : lastChunk + 7;
}
