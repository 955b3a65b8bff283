import { Counter, Histogram, type Registry } from '@sluice/telemetry';
import { endingCodes, type Endings } from '@sluice/wire';
import type { Runtime } from '../runtime.js';
import type { Listener } from './listener.js';

/** Clients that are in a hurry leave when their SETTINGS are not acknowledged within a second. */
const LATE_MS = 1000;
/** Upper bounds, in seconds. */
const ACK_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What becomes of connections of HTTP/2, with clients and with services. */
export class Http2Metrics {
  private readonly ackSeconds: Histogram;
  private late = 0;

  constructor(registers: Registry[], runtime: () => Runtime | undefined, listener: () => Listener | undefined) {
    this.ackSeconds = new Histogram({
      name: 'http2_server_settings_ack_seconds',
      help: 'For how long SETTINGS of clients waited until we acknowledged them, at most: time in which the event loop was busy counts',
      buckets: ACK_SECONDS,
      registers,
    });
    const late = () => this.late;
    new Counter({
      name: 'http2_server_settings_timeout_total',
      help: 'HTTP/2 connections whose SETTINGS were acknowledged too late: by the client, which was closed (side="client"), or by us, after more than a second (side="server")',
      labelNames: ['side'],
      registers,
      collect() {
        this.reset();
        this.inc({ side: 'client' }, listener()?.hits('settings_timeout') ?? 0);
        this.inc({ side: 'server' }, late());
      },
    });
    const ofFrames = (name: string, help: string, sent: keyof Endings, received: keyof Endings) =>
      new Counter({
        name,
        help: `${help} by the other end (peer="client", or "upstream" with its name), direction and error code (RFC 9113 section 7)`,
        labelNames: ['peer', 'upstream', 'direction', 'code'],
        registers,
        collect() {
          this.reset();
          const add = (peer: object, endings: Endings | undefined) => {
            for (const [index, code] of endings === undefined ? [] : endingCodes.entries()) {
              if (endings![sent][index]! > 0) this.inc({ ...peer, direction: 'sent', code }, endings![sent][index]);
              if (endings![received][index]! > 0)
                this.inc({ ...peer, direction: 'received', code }, endings![received][index]);
            }
          };
          add({ peer: 'client', upstream: '' }, listener()?.endings);
          for (const { name: upstream, channel } of runtime()?.upstreams ?? [])
            add({ peer: 'upstream', upstream }, channel.endings);
        },
      });
    ofFrames('http2_rst_stream_total', 'RST_STREAM frames', 'resetsSent', 'resetsReceived');
    ofFrames('http2_goaway_total', 'GOAWAY frames', 'goawaysSent', 'goawaysReceived');
  }

  acknowledged(ms: number): void {
    this.ackSeconds.observe(ms / 1000);
    if (ms > LATE_MS) this.late += 1;
  }
}
