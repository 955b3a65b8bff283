/** A browser over TLS: what its fetch makes of our server. */
import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ServerStream } from '../server/server-stream.js';
import { Listening } from '../testing/listening.fixture.js';
import { echo } from '../testing/served.js';
import { timersSet } from '../timers/wheel.js';

const executablePath = '/usr/bin/chromium';
const missing = existsSync(executablePath) ? '' : ` (no ${executablePath}: apt-get install chromium)`;

/** Answers of which the next piece is sent when `/next` is asked for. */
let waiting: ServerStream | undefined;
const resets: string[] = [];

function serve(stream: ServerStream): void {
  switch (stream.path) {
    case '/':
      stream.respond(200, [['content-type', 'text/html']]);
      stream.write(Buffer.from('<!doctype html><title>wire</title>'));
      return stream.end();
    case '/echo':
      return echo(stream);
    case '/pieces':
      waiting = stream;
      stream.events = { onData() {}, onEnd() {}, onReset: (reason) => void resets.push(reason) };
      stream.respond(200, [['content-type', 'text/plain']]);
      stream.write(Buffer.from('first'));
      return undefined;
    case '/next':
      waiting!.write(Buffer.from('next'));
      return stream.respond(204, [], true);
    case '/last':
      waiting!.end();
      return stream.respond(204, [], true);
    case '/refused':
      return stream.respond(413, [], true);
    default:
      return stream.respond(404, [], true);
  }
}

describe.skipIf(missing)(`Chromium${missing}`, () => {
  let browser: Browser;
  let page: Page;
  let listening: Listening;

  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
    });
  });

  afterAll(() => browser.close());

  beforeEach(async () => {
    resets.length = 0;
    listening = await Listening.start(serve, { tls: true });
    page = await browser.newPage({ ignoreHTTPSErrors: true });
    await page.goto(`https://localhost:${listening.port}/`);
  });

  afterEach(async () => {
    await page.context().close();
    await listening.close();
    await expect.poll(timersSet).toBe(0);
  });

  it('speaks h2, and gets back what it sends, many at once on one connection', async () => {
    const answer = await page.evaluate(`(async () => {
      const sizes = await Promise.all(Array.from({ length: 100 }, async (_, at) => {
        const response = await fetch('/echo', { method: 'POST', body: new Uint8Array(at * 1000) });
        return (await response.arrayBuffer()).byteLength;
      }));
      const protocols = performance.getEntriesByType('resource').map(({ nextHopProtocol }) => nextHopProtocol);
      return { sizes, protocols: [...new Set(protocols)] };
    })()`);
    expect(answer).toEqual({ sizes: Array.from({ length: 100 }, (_, at) => at * 1_000), protocols: ['h2'] });
    expect(listening.server.counters.open).toBeLessThanOrEqual(2);
  });

  it('reads an answer piece by piece, as they come', async () => {
    const pieces = await page.evaluate(`(async () => {
      const reader = (await fetch('/pieces')).body.getReader();
      const pieces = [];
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return pieces;
        pieces.push(new TextDecoder().decode(value));
        // The server sends no more before this.
        await fetch(pieces.length < 5 ? '/next' : '/last');
      }
    })()`);
    expect(pieces).toEqual(['first', 'next', 'next', 'next', 'next']);
  });

  it('leaves an answer, which the handler hears of', async () => {
    await page.evaluate(`(async () => {
      const controller = new AbortController();
      const response = await fetch('/pieces', { signal: controller.signal });
      await response.body.getReader().read();
      controller.abort();
    })()`);
    await expect.poll(() => resets).toEqual(['the client reset the stream: CANCEL']);
  });

  it('is answered before its body has arrived', async () => {
    const status = await page.evaluate(
      `fetch('/refused', { method: 'POST', body: new Uint8Array(5_000_000) }).then(({ status }) => status)`,
    );
    expect(status).toBe(413);
    expect(
      await page.evaluate(`fetch('/echo', { method: 'POST', body: 'on' }).then((response) => response.text())`),
    ).toBe('on');
  });
});
