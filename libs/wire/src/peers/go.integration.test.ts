/** A gRPC client and a server in Go, and Go's HTTP client, against our server and our client. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Channel } from '../client/channel.js';
import type { Fields } from '../fields.js';
import { Status } from '../grpc/status.js';
import type { ServerStream } from '../server/server-stream.js';
import { CERTIFICATE } from '../testing/certificate.js';
import { commandPath, Listening, type ListenOptions } from '../testing/listening.fixture.js';
import { PeerService } from '../testing/peer-service.js';
import { Recorder } from '../testing/recorder.js';
import { echo } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';

const run = promisify(execFile);
const GO_PATH = '/usr/share/gocode';
const goMissing =
  commandPath('go') !== undefined && existsSync(join(GO_PATH, 'src/google.golang.org/grpc'))
    ? ''
    : ' (no Go with gRPC: apt-get install golang-go golang-google-grpc-dev)';

const closing: (() => Promise<unknown> | void)[] = [];
let folder: string;
let peer: string;

beforeAll(async () => {
  if (goMissing !== '') return;
  folder = mkdtempSync(join(tmpdir(), 'sluice-go-'));
  peer = join(folder, 'go-peer');
  writeFileSync(join(folder, 'ca.pem'), CERTIFICATE);
  await run('go', ['build', '-o', peer, '.'], {
    cwd: fileURLToPath(new URL('go-peer', import.meta.url)),
    env: { ...process.env, GO111MODULE: 'off', GOPATH: GO_PATH },
  });
});

afterAll(() => {
  if (goMissing === '') rmSync(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await expect.poll(timersSet).toBe(0);
});

async function listen(handler: (stream: ServerStream) => void, options: ListenOptions = {}): Promise<Listening> {
  const listening = await Listening.start(handler, { ...options, http2: { maxConcurrentStreams: 100 } });
  closing.push(() => listening.close());
  return listening;
}

/** What the Go client prints of a scenario. */
async function call(port: number, scenario: string, tls = false): Promise<unknown> {
  const env = tls ? { ...process.env, CA: join(folder, 'ca.pem') } : process.env;
  const { stdout } = await run(peer, ['call', `127.0.0.1:${port}`, scenario], { env });
  return JSON.parse(stdout) as unknown;
}

/** Starts a scenario; resolves when it says that it has begun. `result` is what it prints at its end. */
async function begin(port: number, scenario: string): Promise<{ child: ChildProcess; result: Promise<unknown> }> {
  const child = spawn(peer, ['call', `127.0.0.1:${port}`, scenario]);
  let printed = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const result = new Promise<unknown>((resolve, reject) => {
    child.once('close', (code) => (code === 0 ? resolve(JSON.parse(printed)) : reject(new Error(complaints))));
  });
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString();
      if (complaints.includes('begun')) resolve();
    });
    result.catch(reject);
  });
  return { child, result };
}

describe.skipIf(goMissing)(`a client in Go on our server${goMissing}`, () => {
  for (const tls of [false, true]) {
    it(`makes unary calls${tls ? ' over TLS' : ''}`, async () => {
      const { port } = await listen(new PeerService().serve, { tls });
      expect(await call(port, 'unary', tls)).toEqual({
        header: ['hello'],
        trailer: Buffer.from('\0\xff', 'latin1').toString('base64'),
      });
    });
  }

  const SCENARIOS: Record<string, { readonly scenario: string; readonly outcome: object; readonly gzip?: boolean }> = {
    'reads a status': { scenario: 'status', outcome: { code: 'NotFound', message: 'nothing here: ☃ 100%' } },
    'reads that a method is unknown': {
      scenario: 'unimplemented',
      outcome: { code: 'Unimplemented', message: '/peer.Peer/None' },
    },
    'reads a stream of 1000 messages': { scenario: 'serverStream', outcome: { count: 1_000, octets: 1_000 } },
    'sends a stream of 1000 messages': { scenario: 'clientStream', outcome: { counted: '1000' } },
    'talks both ways': { scenario: 'bothWays', outcome: {} },
    'sends gzip': { scenario: 'gzip', outcome: {} },
    'sends gzip and gets it': { scenario: 'gzip', outcome: {}, gzip: true },
    'sends 4 MB, and is refused 5': { scenario: 'big', outcome: { code: 'ResourceExhausted' } },
    'makes 4000 calls, 200 at once, over the concurrent streams': { scenario: 'crowd', outcome: { calls: 4_000 } },
    'goes on sending on streams that were answered early': { scenario: 'earlyAnswer', outcome: {} },
    'forgets uploads that were answered early, and none of the calls after them is refused': {
      scenario: 'earlyUploads',
      outcome: { NotFound: 1_000 },
    },
  };
  for (const [name, { scenario, outcome, gzip }] of Object.entries(SCENARIOS)) {
    it(`${name}`, async () => {
      const { port } = await listen(new PeerService(gzip === true ? 'gzip' : undefined).serve);
      expect(await call(port, scenario)).toEqual(outcome);
    });
  }

  it('has a deadline, which the handler hears of', async () => {
    const service = new PeerService();
    const { port } = await listen(service.serve);
    expect(await call(port, 'deadline')).toMatchObject({ code: 'DeadlineExceeded' });
    await expect.poll(() => service.cancelled.length).toBe(1);
  });

  it('cancels, which the handler hears of', async () => {
    const service = new PeerService();
    const { port } = await listen(service.serve);
    expect(await call(port, 'cancel')).toMatchObject({ code: 'Canceled' });
    // By RST_STREAM, or by the connection's end when the process was faster.
    await expect.poll(() => service.cancelled.length).toBe(1);
  });

  it('gets the whole of a stream from a server that drains', async () => {
    const { port, server } = await listen(new PeerService().serve);
    const { result } = await begin(port, 'slow');
    const closed = server.close(10_000);
    expect(await result).toEqual({ count: 10 });
    await closed;
  });

  it('loses no call when a server drains and another takes its place', async () => {
    const first = await listen(new PeerService().serve);
    const { port } = first;
    const { child, result } = await begin(port, 'untilStopped');
    for (let round = 0, serving = first; round < 3; round++) {
      serving.listener.close();
      const closed = serving.server.close(10_000);
      serving = await listen(new PeerService().serve, { port });
      await closed;
      await expect.poll(() => serving.server.counters.requests).toBeGreaterThan(20);
    }
    child.stdin!.end();
    expect(await result).toMatchObject({ calls: expect.any(Number) as number });
  });

  it('is net/http, which keeps its header table whatever it acknowledged', async () => {
    const { port } = await listen(echo, { tls: true });
    expect(await call(port, 'http', true)).toEqual({ protocol: 'HTTP/2.0' });
  });
});

async function startGo(): Promise<{ child: ChildProcess; address: string; printed: () => string }> {
  const child = spawn(peer, ['serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  const address = new Promise<string>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes('\n')) resolve(printed.split('\n')[0]!);
    });
  });
  closing.push(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return { child, address: await address, printed: () => printed };
}

describe.skipIf(goMissing)(`a server in Go for our client${goMissing}`, () => {
  let go: Awaited<ReturnType<typeof startGo>>;
  let channel: Channel;

  async function open(): Promise<void> {
    go = await startGo();
    channel = new Channel(go.address, { maxMessageBytes: 8_000_000 });
    closing.push(() => channel.close(0));
  }

  function unary(
    method: string,
    message: Buffer,
    fields: Fields = [],
    deadline?: number,
  ): { events: Recorder; cancel(): void } {
    const events = new Recorder();
    const call = channel.unary(
      channel.method(`/peer.Peer/${method}`),
      fields,
      message,
      deadline === undefined ? {} : { deadline },
      events,
    );
    return { events, cancel: () => call.cancel() };
  }

  it('answers unary calls of any size, with metadata', async () => {
    await open();
    for (const size of [0, 20, 100_000, 4_000_000]) {
      const { events } = unary('Echo', Buffer.alloc(size, 'x'));
      expect(await events.outcome).toMatchObject({ code: Status.OK });
      expect(events.messages.map(({ length }) => length)).toEqual([size]);
    }
    const bin = Buffer.from([0, 255]).toString('base64');
    const { events } = unary('Echo', Buffer.from('a'), [
      ['x-echo', 'hello'],
      ['x-echo-bin', bin],
    ]);
    const { trailers } = await events.outcome;
    expect(events.headers).toContainEqual(['x-echo', 'hello']);
    expect(trailers.map(([name, value]) => [name, value.replace(/=+$/, '')])).toContainEqual([
      'x-echo-bin',
      bin.replace(/=+$/, ''),
    ]);
  });

  it('answers with a status', async () => {
    await open();
    expect(await unary('Fail', Buffer.from('a')).events.outcome).toMatchObject({
      code: Status.NOT_FOUND,
      message: 'nothing here: ☃ 100%',
    });
  });

  it('streams: to us, to it, both ways', async () => {
    await open();
    const repeat = unary('Repeat', Buffer.alloc(1_000)).events;
    expect(await repeat.outcome).toMatchObject({ code: Status.OK });
    expect(repeat.messages.length).toBe(1_000);

    const counted = new Recorder();
    const count = channel.start(channel.method('/peer.Peer/Count'), [], {}, counted);
    for (let at = 0; at < 1_000; at++) count.write(Buffer.alloc(1_000));
    count.end();
    expect(await counted.outcome).toMatchObject({ code: Status.OK });
    expect(counted.messages.toString()).toBe('1000');

    const echoed = new Recorder();
    const both = channel.start(channel.method('/peer.Peer/Echo'), [], {}, echoed);
    let sent = 0;
    echoed.onMessageHook = () => (++sent < 200 ? both.write(Buffer.alloc(sent)) : both.end());
    both.write(Buffer.alloc(0));
    expect(await echoed.outcome).toMatchObject({ code: Status.OK });
    expect(echoed.messages.map(({ length }) => length)).toEqual(Array.from({ length: 200 }, (_, at) => at));
  });

  it('hears of deadlines and cancellations', async () => {
    await open();
    const late = unary('Wait', Buffer.from('a'), [], Date.now() + 100).events;
    expect(await late.outcome).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    const { events, cancel } = unary('Wait', Buffer.from('a'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    cancel();
    expect(await events.outcome).toMatchObject({ code: Status.CANCELLED });
    await expect.poll(() => go.printed().split('cancelled').length - 1).toBe(2);
  });

  it('sends the whole of a stream while it stops gracefully', async () => {
    await open();
    const slow = unary('Slow', Buffer.from('a')).events;
    await expect.poll(() => slow.messages.length).toBeGreaterThan(0);
    const exited = once(go.child, 'exit');
    go.child.kill('SIGTERM');
    expect(await slow.outcome).toMatchObject({ code: Status.OK });
    expect(slow.messages.length).toBe(10);
    await exited;
  });
});
