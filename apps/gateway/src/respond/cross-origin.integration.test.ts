/** Pages of another origin, in a browser, with the header fields that the usual clients send: what CORS lets through by default. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';

const executablePath = '/usr/bin/chromium';
const missing = existsSync(executablePath) ? '' : ` (no ${executablePath}: apt-get install chromium)`;

const tracing = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' };
/** As seen of @connectrpc/connect-web 2 and grpc-web 2. */
const clients: Record<string, Record<string, string>> = {
  'connect-web by gRPC-Web': {
    'content-type': 'application/grpc-web+proto',
    'x-grpc-web': '1',
    'x-user-agent': 'connect-es/2.1.0',
    'grpc-timeout': '5000m',
  },
  'connect-web by Connect': {
    'content-type': 'application/json',
    'connect-protocol-version': '1',
    'connect-timeout-ms': '5000',
  },
  'grpc-web': {
    'content-type': 'application/grpc-web-text',
    accept: 'application/grpc-web-text',
    'x-grpc-web': '1',
    'x-user-agent': 'grpc-web-javascript/0.1',
    'grpc-timeout': '5000m',
  },
  REST: { 'content-type': 'application/json', 'x-request-timeout': '5s', 'idempotency-key': '1', 'if-match': '"1"' },
};

describe.skipIf(missing)(`Chromium${missing}`, () => {
  let browser: Browser;
  let page: Page;
  let pages: Server;
  let echo: EchoServer;
  let gateway: TestGateway;

  beforeAll(async () => {
    pages = createServer((_, response) => response.end('<!doctype html>')).listen(0, '127.0.0.1');
    await once(pages, 'listening');
    const origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    echo = await startEchoServer();
    gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { cors: { origins: [origin], credentials: true } });
    browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    });
    page = await browser.newPage();
    await page.goto(origin);
  });
  afterAll(async () => {
    await browser?.close();
    await gateway?.stop();
    echo?.stop();
    pages?.close();
  });

  const ask = (path: string, init: object) =>
    page.evaluate(
      `fetch(${JSON.stringify(gateway.origin + path)}, ${JSON.stringify(init)}).then(async (response) => ({
        status: response.status, names: [...response.headers.keys()], text: await response.text(),
      }))`,
    ) as Promise<{ status: number; names: string[]; text: string }>;

  it.each(Object.entries(clients))('%s may send its fields, signed in and traced', async (name, fields) => {
    const headers = { ...fields, ...tracing, authorization: 'Bearer abc', 'x-request-id': 'abc' };
    // An empty message, as bytes or as text.
    const body = { 'grpc-web': 'AAAAAAA=', 'connect-web by gRPC-Web': '\0\0\0\0\0' }[name] ?? '{}';
    const path = name === 'REST' ? '/v1/echo/ann' : '/echo.v1.EchoService/Echo';
    const { status, text } = await ask(path, { method: 'POST', headers, body, credentials: 'include' });
    // What is behind the path is not what this is about: that the page is told is.
    expect(status).toBeLessThan(500);
    if (name.includes('gRPC-Web')) expect(text).toContain('grpc-status: 0');
  });

  it('reads what an answer says besides its body', async () => {
    const { status, names } = await ask('/v1/fail-unary/16', {});
    expect(status).toBe(401);
    expect(names).toContain('www-authenticate');
  });
});
