import { Counter, Gauge, type Registry } from '@sluice/telemetry';
import type { Runtime } from '../runtime.js';
import { streamsMax } from './stream-share.js';

/** How many streams are open, how many may be, and what refused more. */
export function streamMetrics(registers: Registry[], runtime: () => Runtime | undefined): void {
  const labelNames = ['upstream'] as const;
  new Gauge({
    name: 'gateway_streams_open',
    help: 'Streams that are open between clients and an upstream',
    labelNames,
    registers,
    collect() {
      for (const { name, streams } of runtime()?.upstreams ?? []) this.set({ upstream: name }, streams.open);
    },
  });
  new Gauge({
    name: 'gateway_streams_max',
    help: 'Streams that may be open to an upstream at once',
    labelNames,
    registers,
    collect() {
      for (const { name, config, channel } of runtime()?.upstreams ?? [])
        this.set({ upstream: name }, streamsMax(config.streams, channel.room));
    },
  });
  new Counter({
    name: 'gateway_streams_ended_total',
    help: 'Streams that the gateway ended: their session had ended, their token had expired, or nothing was said in them',
    labelNames: ['upstream', 'cause'],
    registers,
    collect() {
      this.reset();
      for (const { name, streams } of runtime()?.upstreams ?? [])
        for (const [cause, count] of Object.entries(streams.ended)) this.inc({ upstream: name, cause }, count);
    },
  });
  new Counter({
    name: 'gateway_streams_refused_total',
    help: 'Streams that were refused because too many are open: the share of streams, of one caller, or of one address',
    labelNames: ['upstream', 'bound'],
    registers,
    collect() {
      this.reset();
      for (const { name, streams } of runtime()?.upstreams ?? [])
        for (const [bound, count] of Object.entries(streams.refused)) this.inc({ upstream: name, bound }, count);
    },
  });
}
