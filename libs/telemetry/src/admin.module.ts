import { Controller, Get, Inject, Module, Res, type DynamicModule } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, type Registry } from 'prom-client';
import { droppedLogLines } from './logger.js';
import { watchResources } from './resources.js';

/** What a process says about itself to `/readyz`. */
export interface Readiness {
  /** The names of the things that are not ready, with the reason; empty when the process can serve. */
  check(): Promise<Readonly<Record<string, string>>>;
  /** What does not work although the process can serve: told by `/readyz`, whose answer stays 200. */
  degraded?(): Promise<Readonly<Record<string, string>>>;
}

export const READINESS = Symbol('readiness');
export const METRICS = Symbol('metrics');

/** The part of a Fastify or Express reply that is used here. */
interface Reply {
  status(code: number): Reply;
  header(name: string, value: string): Reply;
  send(body: unknown): unknown;
}

@Controller()
class AdminController {
  constructor(
    @Inject(READINESS) private readonly readiness: Readiness,
    @Inject(METRICS) private readonly metrics: Registry,
  ) {}

  /** The process runs. */
  @Get('livez')
  livez() {
    return { status: 'ok' };
  }

  /** The process can serve: 200, with what does not work all the same; or 503 with what is missing. */
  @Get('readyz')
  async readyz(@Res() reply: Reply) {
    const missing = await this.readiness.check();
    if (Object.keys(missing).length > 0) return reply.status(503).send({ status: 'not ready', missing });
    const degraded = (await this.readiness.degraded?.()) ?? {};
    const whole = Object.keys(degraded).length === 0;
    return reply.status(200).send(whole ? { status: 'ok' } : { status: 'ok', degraded });
  }

  /** Prometheus text format. */
  @Get('metrics')
  async prometheus(@Res() reply: Reply) {
    return reply.header('content-type', this.metrics.contentType).send(await this.metrics.metrics());
  }
}

function watchDroppedLogLines(metrics: Registry): void {
  new Counter({
    name: 'log_lines_dropped_total',
    help: 'Lines of the log that could not be written, by the code of the error: ENOSPC for a full disk, EPIPE for a closed pipe',
    labelNames: ['reason'],
    registers: [metrics],
    collect() {
      this.reset();
      for (const [reason, lines] of droppedLogLines()) this.inc({ reason }, lines);
    },
  });
}

function watchReadiness(metrics: Registry, readiness: Readiness): void {
  new Gauge({
    name: 'process_not_ready',
    help: 'What keeps the process from serving, as /readyz names it; no sample when nothing does',
    labelNames: ['what'],
    registers: [metrics],
    async collect() {
      const missing = await readiness.check();
      this.reset();
      for (const what of Object.keys(missing)) this.set({ what }, 1);
    },
  });
}

/** `/livez`, `/readyz` and `/metrics` on the admin port, over the providers {@link READINESS} and {@link METRICS}. */
@Module({})
export class AdminModule {
  static with(readiness: Readiness, metrics: Registry): DynamicModule {
    collectDefaultMetrics({ register: metrics });
    watchResources(metrics);
    watchDroppedLogLines(metrics);
    watchReadiness(metrics, readiness);
    return {
      module: AdminModule,
      global: true,
      controllers: [AdminController],
      providers: [
        { provide: READINESS, useValue: readiness },
        { provide: METRICS, useValue: metrics },
      ],
      exports: [METRICS, READINESS],
    };
  }
}
