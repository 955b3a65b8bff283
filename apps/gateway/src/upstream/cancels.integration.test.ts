/**
 * Cancels of many clients on the gateway's few connections to a service, whose server takes the gateway for one client: no call
 * of another client may fail for them.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { fieldBlock, fieldLines, frame, RawHttp2, Type } from '../../testdata/raw-http2.js';
import { type SlowService, slowServices, StallingProxy } from '../../testdata/slow-services.js';

const MS_EACH = 2000;
const ENOUGH = 20;
const HANG = '/v1/hang';
const ECHO = '/v1/echo/ann';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls by a few connections of HTTP/2, as many of each status. */
class Clients {
  readonly statuses: Record<string, number> = {};
  readonly sessions: ClientHttp2Session[];
  private next = 0;

  constructor(port: number, connections: number) {
    this.sessions = Array.from({ length: connections }, () =>
      connect(`http://127.0.0.1:${port}`).on('error', () => undefined),
    );
  }

  /** @returns the status, or `lost`. */
  async call(path: string, timeout: string): Promise<void> {
    const session = this.sessions[this.next++ % this.sessions.length]!;
    const status = await new Promise<string>((resolve) => {
      const stream = session.request({ ':path': path, 'x-request-timeout': timeout });
      stream.on('response', (fields) => resolve(String(fields[':status'])));
      stream.on('error', () => resolve('lost'));
      stream.on('close', () => resolve('lost'));
      stream.resume();
    });
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
  }

  /** Honest calls, eight at a time, until `ended` and enough of them have an answer for what is said of them to mean something. */
  async callUntil(ended: () => boolean): Promise<void> {
    const answers = () => Object.values(this.statuses).reduce((sum, count) => sum + count, 0);
    const one = async () => {
      while (!ended() || answers() <= ENOUGH) await this.call(ECHO, '10s');
    };
    await Promise.all(Array.from({ length: 8 }, one));
  }

  close(): void {
    for (const session of this.sessions) session.destroy();
  }
}

const head = (streamId: number) => {
  const fields = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', HANG],
    [':authority', 'a'],
  ] as const;
  const block = streamId === 1 ? fieldBlock(fields) : Buffer.concat(fieldLines(fields));
  return frame(Type.HEADERS, 5, streamId, block);
};

/** Opens streams and resets them a moment later, on a new connection whenever the gateway has had enough. */
async function resetRapidly(port: number, ended: () => boolean): Promise<number> {
  let cut = 0;
  while (!ended()) {
    const client = RawHttp2.open(port);
    let streamId = 1;
    while (!ended() && !client.closed) {
      const opened = Array.from({ length: 20 }, (_, at) => streamId + 2 * at);
      streamId += 40;
      client.send(...opened.map(head));
      await pause(10);
      client.send(...opened.map((id) => frame(Type.RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8]))));
    }
    if (client.closed) cut++;
    client.socket.destroy();
  }
  return cut;
}

describe.each(Object.keys(slowServices))('before a service of %s', (kind) => {
  let service: SlowService;
  let proxy: StallingProxy;
  let gateway: TestGateway;
  let honest: Clients;

  beforeAll(async () => {
    service = await slowServices[kind]!();
    proxy = await StallingProxy.before(service.port);
  }, 120_000);
  afterAll(async () => {
    proxy?.stop();
    await service?.stop();
  });

  async function scene(play: () => Promise<void>, upstream: object = {}) {
    gateway = await startTestGateway(`127.0.0.1:${proxy.port}`, { timeouts: { max: '30s' }, upstream });
    honest = new Clients(gateway.port, 4);
    await play();
    const { statuses } = honest;
    honest.close();
    await gateway.stop();
    return statuses;
  }

  it('four connections that reset for sport fail nobody else, and are cut', async () => {
    let cuts: readonly number[] = [];
    const statuses = await scene(async () => {
      const until = Date.now() + MS_EACH;
      const ended = () => Date.now() > until;
      const attackers = Array.from({ length: 4 }, () => resetRapidly(gateway.port, ended));
      await honest.callUntil(ended);
      cuts = await Promise.all(attackers);
    });
    expect(Object.keys(statuses)).toEqual(['200']);
    expect(statuses['200']).toBeGreaterThan(ENOUGH);
    for (const cut of cuts) expect(cut).toBeGreaterThan(0);
  });

  it('40 clients that cancel 90 calls each fail nobody else', async () => {
    const statuses = await scene(async () => {
      let cancelling = true;
      const calls = honest.callUntil(() => !cancelling);
      for (let client = 0; client < 40; client++) {
        const session = connect(`http://127.0.0.1:${gateway.port}`).on('error', () => undefined);
        const streams = Array.from({ length: 90 }, () =>
          session.request({ ':path': HANG }).on('error', () => undefined),
        );
        await pause(30);
        for (const stream of streams) stream.close(8);
        await new Promise<void>((resolve) => session.close(resolve));
      }
      cancelling = false;
      await calls;
    });
    expect(Object.keys(statuses)).toEqual(['200']);
    expect(statuses['200']).toBeGreaterThan(ENOUGH);
  });

  it.each(['fixed', 'adaptive'])(
    'a service that stands still fails no call that has patience: %s',
    async (concurrency) => {
      const impatient = new Clients(0, 0);
      let [calls, stalled] = [0, 0];
      const statuses = await scene(
        async () => {
          impatient.sessions.push(...new Clients(gateway.port, 8).sessions);
          const patient: Promise<void>[] = [];
          const load: Promise<void>[] = [];
          // By the clock: a stall that a busy machine makes longer is longer than patience lasts.
          const tick = async (ms: number) => {
            for (const until = Date.now() + ms; Date.now() < until;) {
              for (let call = 0; call < 8; call++) load.push(impatient.call(ECHO, '200ms'));
              patient.push(honest.call(ECHO, '29s'));
              await pause(10);
            }
          };
          await tick(200);
          proxy.stall();
          const before = load.length;
          await tick(1500);
          stalled = load.length - before;
          proxy.goOn();
          await tick(200);
          await Promise.all([...patient, ...load]);
          calls = patient.length;
          impatient.close();
        },
        { concurrency },
      );
      expect(statuses).toEqual({ 200: calls });
      const { 503: refused = 0, 504: late = 0 } = impatient.statuses;
      // Once it is known that answers come late, they are refused before they are sent.
      expect(late + refused).toBeGreaterThan(stalled / 3);
    },
  );
});
