import { connect, type Socket } from 'node:net';
import { parseAnswers, type RawAnswer } from './raw-http1.js';

/** One connection on which requests follow answers. */
export interface Conversation {
  readonly socket: Socket;
  send(bytes: string): void;
  /** What has arrived after the answers that `answer` returned. */
  rest(): string;
  /** Every answer so far. */
  answers(): RawAnswer[];
  /** The next whole answer. */
  answer(): Promise<RawAnswer>;
  closed(): boolean;
  /** Whether the other side ended the connection before patience did. */
  ended(patienceMs?: number): Promise<boolean>;
}

export function converse(
  port: number,
  socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true }),
): Conversation {
  let chunks: Buffer[] = [];
  let taken = 0;
  let over = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.on('end', () => (over = true));
  socket.on('close', () => (over = true));
  const whole = () => {
    chunks = [Buffer.concat(chunks)];
    return chunks[0]!;
  };
  const until = async (test: () => boolean, patienceMs: number) => {
    const end = Date.now() + patienceMs;
    while (!test() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
    return test();
  };
  const complete = () => parseAnswers(whole()).filter((answer) => answer.complete);
  let consumed = 0;
  return {
    socket,
    send: (bytes) => void socket.write(bytes, 'latin1'),
    rest: () => whole().subarray(consumed).toString('latin1'),
    answers: () => parseAnswers(whole()),
    async answer() {
      if (!(await until(() => complete().length > taken, 5000))) {
        throw new Error(`no answer in ${JSON.stringify(whole().subarray(consumed).toString('latin1').slice(0, 500))}`);
      }
      const found = complete()[taken++]!;
      if (complete().length === taken) consumed = whole().length;
      return found;
    },
    closed: () => over,
    ended: (patienceMs = 8000) => until(() => over, patienceMs),
  };
}
