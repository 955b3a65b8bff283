import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../gateway.fixture.js';
import type * as Sluice from '../index.js';

const executablePath = '/usr/bin/chromium';
const missing = existsSync(executablePath) ? '' : ` (no ${executablePath})`;

declare global {
  // What the page offers to the tests: the library, and the page's client.
  var sluice: typeof Sluice;
  var client: Sluice.SluiceClient;
}

/** The library as a page would load it. */
async function bundle(): Promise<string> {
  const output = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      lib: {
        entry: fileURLToPath(new URL('../index.ts', import.meta.url)),
        formats: ['iife'],
        name: 'sluice',
      },
    },
  });
  const [{ output: chunks }] = output as unknown as [{ output: { code: string }[] }];
  return chunks[0]?.code as string;
}

describe.skipIf(missing)(`in Chromium${missing}`, () => {
  let browser: Browser;
  let script: string;
  let gateway: TestGateway;
  let context: BrowserContext;

  beforeAll(async () => {
    script = await bundle();
    browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
    });
    // The processes that the first page starts take most of a minute on a machine that is busy: not the first test's time.
    const first = await browser.newPage();
    first.setDefaultTimeout(0);
    await first.goto('data:text/html,');
    await first.close();
  });
  afterAll(() => browser?.close());
  beforeEach(async () => {
    gateway = await startGateway();
    gateway.answer('GET /page', (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end(`<!doctype html><script>${script}</script>`);
    });
    context = await browser.newContext();
    // How long is too long is for the test's own timeout to say; Playwright's 30 s come first on a busy machine.
    context.setDefaultTimeout(0);
  });
  afterEach(async () => {
    await context.close();
    await gateway.close();
  });

  async function tab(guest = false): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${gateway.baseUrl}/page`);
    await page.evaluate((wantsGuest) => {
      const { createClient, localStorageStore, webLock } = globalThis.sluice;
      globalThis.client = createClient({
        baseUrl: '/api/v1',
        store: localStorageStore(),
        lock: webLock(),
        guest: wantsGuest,
      });
    }, guest);
    return page;
  }

  /** Another tab's process sees what was stored a moment later. */
  const seen = (page: Page, token: string) =>
    page.waitForFunction(async (wanted) => (await globalThis.client.session())?.access_token === wanted, token);

  const call = (page: Page, times: number) =>
    page.evaluate(
      (count) => Promise.all(Array.from({ length: count }, async () => (await globalThis.client.fetch('/me')).status)),
      times,
    );

  test('two tabs refresh once, and the session outlives them', async () => {
    const [first, second] = [await tab(), await tab()];
    const session = gateway.open();
    await first.evaluate((opened) => globalThis.client.setSession(opened), session);
    await seen(second, session.access_token);
    gateway.expireAll();
    const statuses = await Promise.all([call(first, 10), call(second, 10)]);
    expect(statuses.flat()).toEqual(Array(20).fill(200));
    expect(gateway.count('POST /auth/refresh')).toBe(1);
    await first.close();
    await second.close();
    expect(await call(await tab(), 1)).toEqual([200]);
    expect(gateway.count('POST /auth/refresh')).toBe(1);
  });

  test('who gets the lock sees what the one before stored, each time', async () => {
    const tabs = [await tab(), await tab(), await tab()];
    const COUNT = 150;
    const countUp = (page: Page) =>
      page.evaluate(async (times) => {
        const [store, lock] = [globalThis.sluice.localStorageStore(), globalThis.sluice.webLock()];
        for (let i = 0; i < times; i++) {
          await lock.run('count', async () => {
            await store.catchUp?.();
            await store.set('count', String(Number((await store.get('count')) ?? 0) + 1));
          });
        }
        return Number(await store.get('count'));
      }, COUNT);
    const counts = await Promise.all(tabs.map(countUp));
    expect(Math.max(...counts)).toBe(COUNT * tabs.length);
  });

  test('a storage that was cleared meanwhile holds nobody up for long', async () => {
    const [first, second] = [await tab(), await tab()];
    await first.evaluate((opened) => globalThis.client.setSession(opened), gateway.open());
    await first.evaluate(() => (globalThis as unknown as { localStorage: { clear(): void } }).localStorage.clear());
    await second.evaluate((opened) => globalThis.client.setSession(opened), gateway.open());
    expect(await call(second, 1)).toEqual([200]);
  });

  test('two tabs get one guest token', async () => {
    const [first, second] = [await tab(true), await tab(true)];
    const statuses = await Promise.all([call(first, 10), call(second, 10)]);
    expect(statuses.flat()).toEqual(Array(20).fill(200));
    expect(gateway.count('POST /auth/guest')).toBe(1);
    const records = await second.evaluate(() => globalThis.client.guest.records());
    expect(records).toMatchObject([{ cause: 'no_token', outcome: 'issued' }]);
  });

  test('a tab closed while it refreshes does not hold the other up', async () => {
    const [first, second] = [await tab(), await tab()];
    const session = gateway.open();
    await first.evaluate((opened) => globalThis.client.setSession(opened), session);
    await seen(second, session.access_token);
    gateway.expireAll();
    const asked = new Promise<void>((resolve) => {
      gateway.answer('POST /auth/refresh', () => {
        gateway.answer('POST /auth/refresh', undefined);
        resolve();
      });
    });
    const doomed = call(first, 1).catch(() => undefined);
    await asked;
    const waiting = call(second, 3);
    await first.close();
    await doomed;
    expect(await waiting).toEqual([200, 200, 200]);
  });

  test('a stream arrives in parts, and leaving the loop ends it', async () => {
    const page = await tab();
    gateway.answer('POST /sessions/s/messages', (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"text":"grüß"}\n\n');
      response.write('data: {"text":"dich"}\n\n');
    });
    const texts = await page.evaluate(async () => {
      const seen: (string | undefined)[] = [];
      const route = 'POST /sessions/{session_id}/messages';
      for await (const part of globalThis.client.stream(route, { session_id: 's', text: 'hi' }, { form: 'sse' })) {
        seen.push(part.text);
        if (seen.length === 2) break;
      }
      return seen;
    });
    expect(texts).toEqual(['grüß', 'dich']);
  });

  test('whoever waits can leave', async () => {
    const page = await tab();
    await page.evaluate((session) => globalThis.client.setSession(session), gateway.open());
    gateway.expireAll();
    gateway.answer('POST /auth/refresh', () => undefined);
    const name = await page.evaluate(async () => {
      const error = await globalThis.client.fetch('/me', { signal: AbortSignal.timeout(100) }).catch((e: Error) => e);
      return (error as Error).name;
    });
    expect(name).toBe('TimeoutError');
  });
});
