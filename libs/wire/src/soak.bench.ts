/**
 * Mixed load with misbehaving peers on one server: unary calls, streams, clients that reset, send rubbish, send half a
 * frame, never read, leave the rest of answered requests unsent, or vanish. Prints resident memory and what is open, and in the
 * end how resident memory moved in the later half: it must stay flat.
 *
 *   npx tsc -b && node --experimental-strip-types libs/wire/src/soak.bench.ts [seconds]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { laterTrend, NODE_ARGUMENTS, resident, trendInWords, type Sample } from '@sluice/testing';
import { Channel, GrpcServerCall, Http2Server, PREFACE, type CallEvents } from '@sluice/wire';

const SECONDS = Number(process.argv[2] ?? 600);
const REPORT_MS = 10_000;

function serve(): void {
  const server = new Http2Server(
    (stream) => {
      const call = GrpcServerCall.accept(stream, { maxMessageBytes: 1_000_000 });
      if (call === undefined) return;
      if (stream.path === '/s.S/Early') return call.sendStatus(5, 'answered before the request is complete');
      let left = stream.path === '/s.S/Stream' ? 200 : 1;
      let message: Buffer = Buffer.alloc(0);
      const send = (): void => {
        while (left > 0) {
          left--;
          if (!call.sendMessage(message)) return;
        }
        call.sendStatus(0);
      };
      call.events = {
        onMessage: (received) => void (message = received),
        onHalfClose: send,
        onCancel: () => {},
        onDrain: send,
      };
    },
    { writeTimeoutMs: 5_000, idleTimeoutMs: 5_000, headersTimeoutMs: 5_000 },
  );
  const listener = createServer((socket) => server.accept(socket));
  listener.listen(0, '127.0.0.1', () => process.send!({ port: (listener.address() as AddressInfo).port }));
  const samples: Sample[] = [];
  // Before the quiet at the end, which is none of the load.
  process.on('message', () => console.log(trendInWords('resident memory', laterTrend(samples))));
  setInterval(() => {
    const { heapTotal, heapUsed, arrayBuffers } = process.memoryUsage();
    const { all, brk, anonymous, file } = resident('self');
    samples.push({ seconds: process.uptime(), value: all });
    const whole = (megabytes: number): string => megabytes.toFixed(0);
    const megabytes = (bytes: number): string => whole(bytes / 2 ** 20);
    const { open, streams, requests, connections, connectionErrors, writeTimeouts, headersTimeouts } = server.counters;
    const handles = process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const descriptors = readdirSync('/proc/self/fd').length;
    console.log(
      `rss ${whole(all)} MB (brk ${whole(brk)}, anonymous ${whole(anonymous)}, file ${whole(file)}), heap ${megabytes(heapUsed)} of ${megabytes(heapTotal)} MB, buffers ${megabytes(arrayBuffers)} MB, sockets ${handles}, descriptors ${descriptors}, open ${open}, streams ${streams}; ` +
        `${requests} requests, ${connections} connections, ${connectionErrors} errors, ${writeTimeouts + headersTimeouts} timeouts`,
    );
  }, REPORT_MS);
}

function misbehave(port: number): void {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const frame = (type: number, flags: number, id: number, payload: Buffer): Buffer => {
    const header = Buffer.alloc(9);
    header.writeUIntBE(payload.length, 0, 3);
    header[3] = type;
    header[4] = flags;
    header.writeUInt32BE(id, 5);
    return Buffer.concat([header, payload]);
  };
  socket.write(Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(0))]));
  // :method POST, :scheme http, :path /
  const request = (id: number, end: boolean): Buffer => frame(1, end ? 5 : 4, id, Buffer.from([0x83, 0x86, 0x84]));
  switch (Math.floor(Math.random() * 7)) {
    case 0:
      for (let id = 1; id < 1_000; id += 2)
        socket.write(Buffer.concat([request(id, true), frame(3, 0, id, Buffer.alloc(4))]));
      break;
    case 1:
      socket.write(Buffer.from(Array.from({ length: 2_000 }, () => Math.floor(Math.random() * 256))));
      break;
    case 2:
      socket.write(request(1, false).subarray(0, 10));
      break;
    case 3:
      socket.pause();
      for (let at = 0; at < 50; at++) socket.write(frame(6, 0, 0, Buffer.alloc(8)));
      break;
    case 4:
      socket.write(Buffer.concat([request(1, false), frame(0, 0, 1, Buffer.alloc(16_000))]));
      break;
    case 5: {
      // Requests for /s.S/Early, POST and gRPC, of which nothing more comes.
      const path = Buffer.concat([Buffer.from([0x83, 0x86, 0x04, 10]), Buffer.from('/s.S/Early')]);
      const type = Buffer.concat([Buffer.from([0x0f, 0x10, 16]), Buffer.from('application/grpc')]);
      for (let id = 1; id < 200; id += 2)
        socket.write(Buffer.concat([frame(1, 4, id, Buffer.concat([path, type])), frame(0, 0, id, Buffer.alloc(100))]));
      break;
    }
    default:
      socket.destroy();
  }
  setTimeout(() => socket.destroy(), 8_000 * Math.random());
}

async function main(): Promise<void> {
  const child = fork(process.argv[1]!, ['serve'], {
    execArgv: [...process.execArgv, ...NODE_ARGUMENTS],
    stdio: 'inherit',
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const channel = new Channel(`127.0.0.1:${port}`);
  const methods = [channel.method('/s.S/Unary'), channel.method('/s.S/Stream')];
  const messages = [20, 1_000, 100_000].map((size) => Buffer.alloc(size, 'x'));
  let running = true;
  let ended = 0;
  let failed = 0;
  const next = (): void => {
    if (!running) return;
    const message = messages[Math.floor(Math.random() ** 3 * messages.length)]!;
    const events: CallEvents = {
      onHeaders() {},
      onMessage() {
        if (Math.random() < 0.0005) call.cancel();
      },
      onEnd({ code }) {
        ended++;
        if (code !== 0 && code !== 1) failed++;
        setImmediate(next);
      },
    };
    const call = channel.unary(
      methods[Math.random() < 0.05 ? 1 : 0]!,
      [],
      message,
      { deadline: Date.now() + 30_000 },
      events,
    );
  };
  for (let at = 0; at < 50; at++) next();
  const rogue = setInterval(() => misbehave(port), 20);
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  clearInterval(rogue);
  child.send('trend');
  running = false;
  await channel.close(5_000);
  console.log(`${ended} calls of the honest client, ${failed} failed`);
  await new Promise((resolve) => setTimeout(resolve, REPORT_MS + 2_000));
  child.kill();
}

if (process.argv[2] === 'serve') serve();
else await main();
