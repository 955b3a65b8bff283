import { connect, type Socket } from 'node:net';

/** A request as it is written; `fields` are lines with their ends. */
export const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n`;
/** A call of the echo service, whose answer has the name, as {@link nameOf} reads it. */
export const echoOf = (name: string, fields?: string) => get(`/v1/echo/${name}`, fields);
export const nameOf = (body: string) => (JSON.parse(body) as { name: string }).name;
export const CLOSE = 'Connection: close\r\n';

/** What came back for one request over HTTP/1.1. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case, in the order they arrived. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  /** False: the connection ended before the answer was whole. */
  readonly complete: boolean;
}

/** Writes bytes as they are, and reads until the server closes the connection or falls silent for `silenceMs`. */
export async function sendRaw(port: number, bytes: string | Buffer, silenceMs = 5000): Promise<Buffer> {
  const { socket, read } = open(port);
  socket.write(bytes);
  return read(silenceMs);
}

/** A connection whose bytes are collected until it ends. */
export function open(port: number): { socket: Socket; read: (silenceMs?: number) => Promise<Buffer> } {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  let over = false;
  let wake: (() => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    wake?.();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    over = true;
    wake?.();
  });
  return {
    socket,
    async read(silenceMs = 5000) {
      while (!over) {
        const silent = await new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(true), silenceMs);
          wake = () => {
            clearTimeout(timer);
            resolve(false);
          };
        });
        if (silent) break;
      }
      socket.destroy();
      return Buffer.concat(chunks);
    },
  };
}

/** All answers in what a connection carried, interim ones left out (RFC 9112 sections 4 and 6). */
export function parseAnswers(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = bytes.toString('latin1');
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) break;
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n');
    rest = rest.slice(end + 4);
    const status = Number(first.split(' ')[1]);
    const fields = lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    });
    if (status < 200) continue;
    const value = (name: string) => fields.find(([found]) => found === name)?.[1];
    let body = '';
    let complete = true;
    if (value('transfer-encoding') === 'chunked') {
      ({ body, rest, complete } = readChunks(rest));
    } else {
      const length = Number(value('content-length') ?? 0);
      body = rest.slice(0, length);
      complete = body.length === length;
      rest = rest.slice(length);
    }
    answers.push({ status, fields, body: Buffer.from(body, 'latin1').toString('utf8'), complete });
  }
  return answers;
}

function readChunks(text: string): { body: string; rest: string; complete: boolean } {
  let body = '';
  let rest = text;
  for (;;) {
    const line = rest.indexOf('\r\n');
    if (line === -1) return { body, rest: '', complete: false };
    const size = Number.parseInt(rest.slice(0, line), 16);
    const chunk = rest.slice(line + 2, line + 2 + size);
    body += chunk;
    if (chunk.length < size) return { body, rest: '', complete: false };
    rest = rest.slice(line + 2 + size + 2);
    if (size === 0) return { body, rest, complete: true };
  }
}

/** One request on a connection of its own; its only answer. */
export async function oneAnswer(port: number, bytes: string | Buffer, silenceMs?: number): Promise<RawAnswer> {
  const read = await sendRaw(port, bytes, silenceMs);
  const [answer] = parseAnswers(read);
  if (!answer) throw new Error(`no answer in ${JSON.stringify(read.toString('latin1'))}`);
  return answer;
}
