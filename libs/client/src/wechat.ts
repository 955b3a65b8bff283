import type { ClientOptions } from './client.js';
import { inProcessLock } from './lock.js';
import { checkNumber, checkOptionNames } from './option-names.js';
import { headerFields, namedError, newDecoder, reasonOf, throwIfAborted } from './runtime.js';

/** The part of `wx`, the API of WeChat's mini-programs, that is used. */
export interface WeChatLike {
  request(options: WeChatRequest): WeChatTask;
  /** What is not there is an empty text. */
  getStorageSync(key: string): unknown;
  setStorageSync(key: string, value: string): void;
  removeStorageSync(key: string): void;
  /** Since version 2.17.3 of the base library. */
  getUserCryptoManager?(): {
    getRandomValues(options: {
      length: number;
      success: (result: { randomValues: ArrayBuffer }) => void;
      fail?: (error: { errMsg: string }) => void;
    }): void;
  };
}

/** What `wx.request` takes. */
export interface WeChatRequest {
  readonly url: string;
  readonly method: string;
  readonly header: Readonly<Record<string, string>>;
  readonly data?: string | ArrayBuffer;
  readonly responseType: 'arraybuffer';
  readonly timeout: number;
  /** Hands over the answer as it comes, by `onChunkReceived`, instead of at its end. */
  readonly enableChunked?: boolean;
  readonly success: (answer: { statusCode: number; header: Record<string, string>; data: unknown }) => void;
  readonly fail: (error: { errMsg: string }) => void;
}

/** What `wx.request` returns. */
export interface WeChatTask {
  abort(): void;
  onHeadersReceived?(listener: (head: { header: Record<string, string>; statusCode?: number }) => void): void;
  onChunkReceived?(listener: (part: { data: ArrayBuffer }) => void): void;
}

export interface WeChatOptions {
  /** The global `wx` when absent. */
  readonly wx?: WeChatLike;
  /** Calls that are under way at once; others wait. WeChat refuses or holds back what is beyond its own bound. Default 6. */
  readonly requestsAtOnce?: number;
  /** How long a call may take, in milliseconds. Default 60 000, as WeChat's own. */
  readonly timeoutMs?: number;
  /** What the keys in the mini-program's storage begin with. Default `sluice`. */
  readonly prefix?: string;
}

/** All pages of a mini-program run in one thread, so that a lock of that thread is everybody's who shares its storage. */
const lock = inProcessLock();
const queues = new WeakMap<WeChatLike, RequestQueue>();

/**
 * What a client needs in a WeChat mini-program: `createClient({ baseUrl: 'https://…/api/v1', ...weChat() })`. The base URL must be
 * absolute, and its host one of the mini-program's request domains.
 */
export function weChat(
  options: WeChatOptions = {},
): Required<Pick<ClientOptions, 'fetch' | 'store' | 'lock' | 'randomId'>> {
  checkOptionNames('weChat', options, ['wx', 'requestsAtOnce', 'timeoutMs', 'prefix']);
  checkNumber('requestsAtOnce', options.requestsAtOnce, 1, 10);
  checkNumber('timeoutMs', options.timeoutMs, 1, 600_000);
  const {
    wx = (globalThis as { wx?: WeChatLike }).wx,
    requestsAtOnce = 6,
    timeoutMs = 60_000,
    prefix = 'sluice',
  } = options;
  if (wx === undefined) throw new TypeError('weChat: there is no wx here, so this is no mini-program');
  const queue = queues.get(wx) ?? new RequestQueue();
  queues.set(wx, queue);
  const nameOf = (key: string) => `${prefix}:${key}`;
  return {
    lock,
    store: {
      get(key) {
        const value = wx.getStorageSync(nameOf(key));
        return typeof value === 'string' && value !== '' ? value : undefined;
      },
      set: (key, value) => wx.setStorageSync(nameOf(key), value),
      delete: (key) => wx.removeStorageSync(nameOf(key)),
    },
    randomId: () => randomId(wx),
    // The part of a Response that the client hands on: status, ok, headers.get, text, json, arrayBuffer, clone, body.getReader.
    fetch: ((input: unknown, init: RequestInit = {}) =>
      send(wx, queue, String(input), init, { requestsAtOnce, timeoutMs })) as unknown as typeof fetch,
  };
}

async function randomId(wx: WeChatLike): Promise<string> {
  const manager = wx.getUserCryptoManager?.();
  if (manager === undefined) {
    throw new TypeError('this version of WeChat has no random numbers (getUserCryptoManager): say guest.deviceId');
  }
  const octets = await new Promise<ArrayBuffer>((resolve, reject) => {
    manager.getRandomValues({
      length: 16,
      success: ({ randomValues }) => resolve(randomValues),
      fail: ({ errMsg }) => reject(new TypeError(errMsg)),
    });
  });
  return Array.from(new Uint8Array(octets), (octet) => octet.toString(16).padStart(2, '0')).join('');
}

/** Requests that wait for one of the few places, which are all clients' together. */
class RequestQueue {
  readonly #waiting: { readonly places: number; readonly enter: () => void }[] = [];
  #underWay = 0;

  /** @param first goes before those that wait: they need what it brings */
  async enter(places: number, first: boolean, signal: AbortSignal | null | undefined): Promise<void> {
    throwIfAborted(signal);
    if (this.#underWay < places) {
      this.#underWay++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener('abort', leave);
        this.#underWay++;
        resolve();
      };
      const one = { places, enter };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(one), 1);
        reject(reasonOf(signal as AbortSignal));
      };
      signal?.addEventListener('abort', leave);
      if (first) this.#waiting.unshift(one);
      else this.#waiting.push(one);
    });
  }

  leave(): void {
    this.#underWay--;
    const next = this.#waiting[0];
    if (next === undefined || this.#underWay >= next.places) return;
    this.#waiting.shift();
    next.enter();
  }
}

async function send(
  wx: WeChatLike,
  queue: RequestQueue,
  url: string,
  init: RequestInit,
  { requestsAtOnce, timeoutMs: timeout }: Required<Pick<WeChatOptions, 'requestsAtOnce' | 'timeoutMs'>>,
): Promise<WeChatResponse> {
  const { signal, body } = init;
  const method = (init.method ?? 'GET').toUpperCase();
  if (method === 'PATCH') throw new TypeError('wx.request has no PATCH: this call cannot be made from a mini-program');
  if (init.credentials === 'include') {
    throw new TypeError("mini-programs keep no cookies: leave refreshToken: 'cookie' out");
  }
  const data = dataOf(body);
  const header = headerFields(init.headers);
  const chunked = /event-stream|ndjson/.test(header['accept'] ?? '');
  await queue.enter(requestsAtOnce, (init as { priority?: string }).priority === 'high', signal);
  return new Promise((resolve, reject) => {
    const feed = new Feed(() => {
      end();
      task.abort();
    });
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      signal?.removeEventListener('abort', abort);
      queue.leave();
    };
    const abort = () => {
      fail(reasonOf(signal as AbortSignal));
      task.abort();
    };
    const fail = (error: Error) => {
      end();
      feed.end(error);
      reject(error);
    };
    const task = wx.request({
      url,
      method,
      header,
      ...(data !== undefined && { data }),
      responseType: 'arraybuffer',
      timeout,
      ...(chunked && { enableChunked: true }),
      success({ statusCode, header: fields, data: whole }) {
        end();
        if (!feed.begun && whole) feed.push(whole as ArrayBuffer);
        feed.end();
        resolve(new WeChatResponse(statusCode, fields, feed));
      },
      fail: ({ errMsg }) => fail(/timeout/.test(errMsg) ? namedError('TimeoutError', errMsg) : new TypeError(errMsg)),
    });
    signal?.addEventListener('abort', abort);
    if (!chunked) return;
    task.onHeadersReceived?.(({ statusCode, header: fields }) => {
      // Older versions tell the status at the end only.
      if (statusCode !== undefined) resolve(new WeChatResponse(statusCode, fields, feed));
    });
    task.onChunkReceived?.(({ data: part }) => feed.push(part));
  });
}

function dataOf(body: RequestInit['body']): string | ArrayBuffer | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === 'string') return body;
  if (Object.prototype.toString.call(body) === '[object ArrayBuffer]') return body as ArrayBuffer;
  if (ArrayBuffer.isView(body)) {
    return body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength) as ArrayBuffer;
  }
  throw new TypeError('a body in a mini-program is text, an ArrayBuffer or a view of one');
}

/** What has come of an answer's body; each reader begins at its beginning. */
class Feed {
  readonly parts: Uint8Array[] = [];
  /** Readers that have not left. */
  readers = 1;
  #over = false;
  #error: Error | undefined;
  #waiting: (() => void)[] = [];

  constructor(private readonly abort: () => void) {}

  get begun(): boolean {
    return this.parts.length > 0;
  }

  push(part: ArrayBuffer): void {
    this.parts.push(new Uint8Array(part));
    this.#wake();
  }

  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#wake();
  }

  leave(): void {
    if (--this.readers > 0 || this.#over) return;
    this.end();
    this.abort();
  }

  /** The part at a place; undefined: there is none any more. */
  async at(place: number): Promise<Uint8Array | undefined> {
    while (place >= this.parts.length && !this.#over) {
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
    if (place < this.parts.length) return this.parts[place];
    if (this.#error) throw this.#error;
    return undefined;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }
}

/** The part of a Response that the client, and whoever gets it, needs. */
class WeChatResponse {
  readonly ok: boolean;
  readonly headers: { get(name: string): string | null; has(name: string): boolean };
  readonly body: { getReader(): object; cancel(): Promise<void> };

  constructor(
    readonly status: number,
    private readonly fields: Readonly<Record<string, string>>,
    private readonly feed: Feed,
  ) {
    this.ok = status >= 200 && status < 300;
    // Phones differ in how they write the names.
    const byName = headerFields(fields);
    this.headers = {
      get: (name) => byName[name.toLowerCase()] ?? null,
      has: (name) => name.toLowerCase() in byName,
    };
    let place = 0;
    let left = false;
    const cancel = async () => {
      if (!left) feed.leave();
      left = true;
    };
    const read = async () => {
      const value = left ? undefined : await feed.at(place++);
      return value === undefined ? { done: true } : { done: false, value };
    };
    this.body = { getReader: () => ({ read, cancel }), cancel };
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const octets: number[] = [];
    for (let place = 0; ; place++) {
      const part = await this.feed.at(place);
      if (part === undefined) return Uint8Array.from(octets).buffer;
      for (const octet of part) octets.push(octet);
    }
  }

  async text(): Promise<string> {
    return newDecoder().decode(new Uint8Array(await this.arrayBuffer()));
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  clone(): WeChatResponse {
    this.feed.readers++;
    return new WeChatResponse(this.status, this.fields, this.feed);
  }
}
