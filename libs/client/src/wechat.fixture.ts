import { request as httpRequest } from 'node:http';
import type { WeChatLike, WeChatRequest, WeChatTask } from './wechat.js';

/** Calls that WeChat lets be under way at once. */
const REQUESTS_MAX = 6;

/** Behaves as `wx` does, as far as a client can tell. */
export class MiniProgram implements WeChatLike {
  readonly storage = new Map<string, string>();
  underWay = 0;
  mostUnderWay = 0;
  /** In the order in which WeChat got them. */
  readonly requests: WeChatRequest[] = [];
  /** The storage takes nothing any more. */
  full = false;

  request(options: WeChatRequest): WeChatTask {
    const failLater = (errMsg: string) => {
      setTimeout(() => options.fail({ errMsg }));
      return { abort: () => undefined };
    };
    if (!['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT'].includes(options.method)) {
      return failLater('request:fail invalid method');
    }
    if (this.underWay >= REQUESTS_MAX) return failLater('request:fail exceed max task count');
    this.requests.push(options);
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    let onHead: ((head: { header: Record<string, string>; statusCode: number }) => void) | undefined;
    let onChunk: ((part: { data: ArrayBuffer }) => void) | undefined;
    let over = false;
    const end = (tell: () => void) => {
      if (over) return;
      over = true;
      this.underWay--;
      tell();
    };
    const fail = (errMsg: string) => end(() => options.fail({ errMsg }));
    const sent = httpRequest(
      options.url,
      { method: options.method, headers: { 'content-type': 'application/json', ...options.header } },
      (answer) => {
        // Some phones write names so, whatever the server wrote.
        const header = Object.fromEntries(
          Object.entries(answer.headers).map(([name, value]) => [
            name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()),
            String(value),
          ]),
        );
        const statusCode = answer.statusCode ?? 0;
        onHead?.({ header, statusCode });
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => {
          if (options.enableChunked) onChunk?.({ data: octetsOf(part) });
          else parts.push(part);
        });
        answer.on('error', () => fail('request:fail'));
        answer.on('end', () => {
          const data = options.enableChunked ? '' : octetsOf(Buffer.concat(parts));
          end(() => options.success({ statusCode, header, data }));
        });
      },
    );
    sent.setTimeout(options.timeout, () => {
      fail('request:fail timeout');
      sent.destroy();
    });
    sent.on('error', () => fail('request:fail'));
    sent.end(
      options.data === undefined
        ? undefined
        : typeof options.data === 'string'
          ? options.data
          : Buffer.from(options.data),
    );
    return {
      abort: () => {
        sent.destroy();
        fail('request:fail abort');
      },
      onHeadersReceived: (listener) => (onHead = listener),
      onChunkReceived: (listener) => (onChunk = listener),
    };
  }

  getStorageSync(key: string): unknown {
    return this.storage.get(key) ?? '';
  }

  setStorageSync(key: string, value: string): void {
    if (this.full) throw new Error('setStorageSync:fail the storage limit is exceeded');
    this.storage.set(key, value);
  }

  removeStorageSync(key: string): void {
    this.storage.delete(key);
  }

  getUserCryptoManager() {
    return {
      getRandomValues: ({ length, success }: { length: number; success: (r: { randomValues: ArrayBuffer }) => void }) =>
        void setTimeout(() => success({ randomValues: crypto.getRandomValues(new Uint8Array(length)).buffer })),
    };
  }
}

function octetsOf(buffer: Buffer): ArrayBuffer {
  return Uint8Array.from(buffer).buffer;
}
