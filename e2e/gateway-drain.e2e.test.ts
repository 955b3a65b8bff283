import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, constants } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@sluice/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { echoDescriptorSet, type EchoServer, startEchoServer } from '../apps/gateway/testdata/echo-server.js';

/** SIGTERM of the built gateway under load: every call that was sent is answered. */

const folder = mkdtempSync(join(tmpdir(), 'sluice-drain-'));
let echo: EchoServer;
let gateway: ChildProcess;
let port: number;
let exited: Promise<number | null>;

beforeAll(async () => {
  echo = await startEchoServer();
  port = await freePort();
  const adminPort = await freePort();
  const config = join(folder, 'gateway.yaml');
  writeFileSync(
    config,
    `upstreams:\n  - name: echo\n    address: 127.0.0.1:${echo.port}\n    descriptor_set: ${echoDescriptorSet}\n`,
  );
  gateway = spawn(process.execPath, ['apps/gateway/dist/main.js'], {
    env: {
      ...process.env,
      GATEWAY_CONFIG: config,
      GATEWAY_PORT: String(port),
      GATEWAY_ADMIN_PORT: String(adminPort),
      LOG_LEVEL: 'error',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  exited = new Promise((resolve) => gateway.on('exit', resolve));
});
afterAll(() => {
  gateway?.kill('SIGKILL');
  echo?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Tally {
  answered: number;
  lost: string[];
}

/** Call after call on one connection as long as the server lets it live; then on the next, until none is to be had. */
async function http1Client(tally: Tally): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (;;) {
    const outcome = await new Promise<string>((resolve) => {
      const sent = request({ port, host: '127.0.0.1', path: '/v1/echo/a', agent }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode === 200 ? 'answered' : `status ${response.statusCode}`));
        response.on('error', (error) => resolve(error.message));
      });
      sent.on('error', (error: NodeJS.ErrnoException) =>
        resolve(error.code === 'ECONNREFUSED' ? 'refused' : `HTTP/1.1 ${error.code} ${error.message}`),
      );
      sent.end();
    });
    if (outcome === 'refused') break;
    if (outcome === 'answered') tally.answered += 1;
    else tally.lost.push(outcome);
  }
  agent.destroy();
}

async function http2Client(tally: Tally): Promise<void> {
  for (;;) {
    const session = connect(`http://127.0.0.1:${port}`);
    let going = false;
    let refused = false;
    session.on('error', (error: NodeJS.ErrnoException) => (refused ||= error.code === 'ECONNREFUSED'));
    session.on('goaway', () => (going = true));
    await new Promise((resolve) => {
      session.once('connect', resolve);
      session.once('close', resolve);
    });
    while (!going && !session.closed && !session.destroyed) {
      const outcome = await new Promise<string>((resolve) => {
        const stream = session.request({ ':path': '/v1/echo/a' });
        let status = 0;
        stream.on('response', (headers) => (status = headers[':status']!));
        // Followed by `close`, where the code tells what became of the request.
        stream.on('error', () => undefined);
        stream.on('close', () => {
          // A request above the last one that GOAWAY names was not processed: clients send it again elsewhere.
          const unprocessed = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || (going && status === 0);
          resolve(status === 200 ? 'answered' : unprocessed ? 'unprocessed' : `HTTP/2 reset ${stream.rstCode}`);
        });
        stream.resume();
        stream.end();
      });
      if (outcome === 'answered') tally.answered += 1;
      else if (outcome !== 'unprocessed') tally.lost.push(outcome);
    }
    session.close();
    if (refused) return;
  }
}

it('loses no call, lets slow ones finish, and exits with 0', async () => {
  const status = () =>
    fetch(`http://127.0.0.1:${port}/v1/echo/a`).then(
      (answer) => answer.status,
      () => 0,
    );
  await expect.poll(status, { timeout: 20_000 }).toBe(200);
  const tally: Tally = { answered: 0, lost: [] };
  const clients = [
    ...Array.from({ length: 10 }, () => http1Client(tally)),
    ...Array.from({ length: 10 }, () => http2Client(tally)),
  ];
  await expect.poll(() => tally.answered, { timeout: 20_000 }).toBeGreaterThan(2000);
  const slow = fetch(`http://127.0.0.1:${port}/v1/hang`, { headers: { 'x-request-timeout': '1500ms' } });
  await expect.poll(() => echo.hanging()).toBe(1);
  gateway.kill('SIGTERM');
  expect((await slow).status).toBe(504);
  await Promise.all(clients);
  expect(tally.lost).toEqual([]);
  expect(await exited).toBe(0);
});
