import { execFile } from 'node:child_process';
import { Agent, request } from 'node:http';
import { connect } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '@sluice/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { echoDescriptorSet, type EchoServer, startEchoServer } from '../apps/gateway/testdata/echo-server.js';
import {
  ECHO,
  GRPC,
  message,
  type ScriptedUpstream,
  startScriptedUpstream,
} from '../apps/gateway/testdata/scripted-upstream.js';
import { BIN, openFolder, type StandaloneGateway, startGateway } from './standalone-gateway.js';

/**
 * One of two upstreams fails under load, in each way there is. Every call of it ends by its deadline, the other upstream's
 * callers never notice, the gateway's memory stays bounded, and the service is back within seconds.
 */

const DEADLINE_MS = 500;
/** What may pass from a deadline until the answer is here: a busy machine runs all of this on two cores. */
const SLACK_MS = 5000;

const folder = openFolder();
let echo: EchoServer;
let shaky: ScriptedUpstream;
let shakyPort: number;
let gateway: StandaloneGateway;

const answers: ScriptedUpstream['script'] = (stream) => {
  stream.respond(GRPC, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(ECHO);
};

beforeAll(async () => {
  echo = await startEchoServer();
  shakyPort = await freePort();
  shaky = await startScriptedUpstream(shakyPort);
  shaky.script = answers;
  folder.write(
    'shaky.proto',
    `syntax = "proto3";
package shaky.v1;
service Shaky { rpc Get(Request) returns (Reply); rpc List(Request) returns (stream Reply); }
message Request { string name = 1; }
message Reply { string name = 1; }
`,
  );
  await promisify(execFile)(join(BIN, 'buf'), ['build', 'shaky.proto', '-o', 'shaky.binpb'], { cwd: folder.path });
  folder.write(
    'my.yaml',
    `upstreams:
  - name: echo
    address: 127.0.0.1:${echo.port}
    descriptor_set: ${echoDescriptorSet}
  - name: shaky
    address: 127.0.0.1:${shakyPort}
    descriptor_set: shaky.binpb
    http:
      rules:
        - { selector: shaky.v1.Shaky.Get, get: /shaky }
        - { selector: shaky.v1.Shaky.List, get: /shaky/list }
`,
  );
  gateway = await startGateway(folder.path);
});
afterAll(async () => {
  await gateway?.stop('SIGKILL');
  await shaky?.stop();
  echo?.stop();
  folder.remove();
});

interface Ended {
  /** HTTP status; 0 for a reset. */
  readonly status: number;
  readonly ms: number;
}

interface Client {
  call(path: string): Promise<Ended>;
  close(): void;
}

const deadlineOf = (ms: number) => ({ 'x-request-timeout': `${ms}ms` });

function http1(deadlineMs: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const call = (path: string): Promise<Ended> =>
    new Promise((resolve) => {
      const began = performance.now();
      const end = (status: number) => resolve({ status, ms: performance.now() - began });
      const sent = request(
        { port: gateway.port, host: '127.0.0.1', path, agent, headers: deadlineOf(deadlineMs) },
        (response) => {
          response.resume();
          response.on('end', () => end(response.statusCode!));
          response.on('error', () => end(0));
        },
      );
      sent.on('error', () => end(0));
      sent.end();
    });
  return { call, close: () => agent.destroy() };
}

function http2(deadlineMs: number): Client {
  const open = () => connect(gateway.origin).on('error', () => undefined);
  let session = open();
  const call = (path: string): Promise<Ended> =>
    new Promise((resolve) => {
      if (session.closed || session.destroyed) session = open();
      const began = performance.now();
      const stream = session.request({ ':path': path, ...deadlineOf(deadlineMs) });
      let status = 0;
      stream.on('response', (headers) => (status = headers[':status']!));
      stream.on('error', () => undefined);
      stream.on('close', () => resolve({ status: stream.rstCode === 0 ? status : 0, ms: performance.now() - began }));
      stream.resume();
      stream.end();
    });
  return { call, close: () => session.destroy() };
}

/** Clients that call one path after the other until told to stop; how each call ended. */
function load(paths: readonly string[], clients: number, deadlineMs = DEADLINE_MS): { stop(): Promise<Ended[]> } {
  const ended: Ended[] = [];
  let going = true;
  const runs = Array.from({ length: clients }, async (_, index) => {
    const client = (index % 2 === 0 ? http1 : http2)(deadlineMs);
    for (let count = index; going; count++) {
      ended.push(await client.call(paths[count % paths.length]!));
      // A client of the failing service tries again when it was refused, but not without a pause.
      if (ended.at(-1)!.status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    client.close();
  });
  return {
    async stop() {
      going = false;
      await Promise.all(runs);
      return ended;
    },
  };
}

async function residentBytes(): Promise<number> {
  const text = await (await fetch(`${gateway.adminOrigin}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(text)![1]);
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const worst = (ended: readonly Ended[]) => Math.max(...ended.map(({ ms }) => ms));

const pour = (size: number): ScriptedUpstream['script'] => {
  const chunk = message(Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0x04]), Buffer.alloc(65_536, 0x61)]));
  return (stream) => {
    stream.respond(GRPC);
    let sent = 0;
    const more = () => {
      while (!stream.destroyed && sent < size) {
        sent += chunk.length;
        if (!stream.write(chunk)) return void stream.once('drain', more);
      }
    };
    more();
  };
};

/** Something that listens, accepts, and knows nothing of HTTP/2. */
async function impostor(behave: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    behave(socket);
  });
  await new Promise<void>((resolve) => server.listen(shakyPort, '127.0.0.1', resolve));
  return server;
}

const scripted = (script: ScriptedUpstream['script']) => async () => {
  shaky.script = script;
  return async () => undefined;
};
const replaced = (behave: ((socket: Socket) => void) | undefined) => async () => {
  await shaky.stop();
  const open = new Set<Socket>();
  const server =
    behave &&
    (await impostor((socket) => {
      open.add(socket);
      behave(socket);
    }));
  return async () => {
    for (const socket of open) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
    shaky = await startScriptedUpstream(shakyPort);
  };
};

it.each<[string, () => Promise<() => Promise<void>>]>([
  ['stalls', scripted(() => undefined)],
  ['begins answers and stalls', scripted((stream) => (stream.respond(GRPC), stream.write(ECHO.subarray(0, 4))))],
  ['resets every stream', scripted((stream) => stream.close(2))],
  ['cuts its connections', scripted((stream) => stream.session!.socket.destroy())],
  [
    'sends messages that are garbage',
    scripted((stream) => (stream.respond(GRPC), stream.end(Buffer.alloc(4096, 0xff)))),
  ],
  ['sends without end', scripted(pour(1024 ** 3))],
  ['is killed', replaced(undefined)],
  ['accepts and says nothing', replaced(() => undefined)],
  ['answers with noise', replaced((socket) => void socket.write('HTTP/1.1 200 OK\r\n\r\nhello'.repeat(100)))],
  ['closes what it accepts', replaced((socket) => void socket.destroy())],
])('an upstream that %s', async (_, fail) => {
  shaky.script = answers;
  await expect.poll(async () => (await fetch(`${gateway.origin}/shaky`)).status, { timeout: 10_000 }).toBe(200);
  const others = load(['/v1/echo/ann', '/v1/count/3'], 8, 10_000);
  const before = await residentBytes();

  const mend = await fail();
  const failing = load(['/shaky', '/shaky/list'], 60);
  let most = 0;
  for (let times = 0; times < 8; times++) {
    await pause(200);
    most = Math.max(most, await residentBytes());
  }
  const ended = await failing.stop();
  expect(ended.length).toBeGreaterThan(60);
  expect(worst(ended)).toBeLessThan(DEADLINE_MS + SLACK_MS);
  expect(most - before).toBeLessThan(200 * 1024 * 1024);

  await mend();
  shaky.script = answers;
  const one = http1(DEADLINE_MS);
  await expect.poll(async () => (await one.call('/shaky')).status, { timeout: 10_000 }).toBe(200);
  one.close();
  const after = await (async () => {
    const again = load(['/shaky'], 10);
    await pause(800);
    return again.stop();
  })();
  // The last second of it is whole again.
  expect(new Set(after.slice(-10).map(({ status }) => status))).toEqual(new Set([200]));

  const unaffected = await others.stop();
  expect(unaffected.filter(({ status }) => status !== 200)).toEqual([]);
});
