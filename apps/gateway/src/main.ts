import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { namedByConfiguration, readSettings, requireFreePort } from '@sluice/config';
import { createLogger, nestLogger, runProcess } from '@sluice/telemetry';
import { GatewayModule } from './gateway.module.js';
import { GatewayService } from './gateway.service.js';
import { settings } from './settings.js';

await runProcess(async () => {
  const values = readSettings(settings, process.env, namedByConfiguration(process.env));
  const logger = createLogger('gateway', values.LOG_LEVEL);
  await requireFreePort('GATEWAY_ADMIN_PORT', values.ADMIN_HOST, values.GATEWAY_ADMIN_PORT);
  await requireFreePort('GATEWAY_PORT', values.GATEWAY_HOST, values.GATEWAY_PORT);
  let gateway: GatewayService | undefined;
  const readiness = {
    check: async () => gateway?.missing() ?? { gateway: 'starting' },
    degraded: async () => gateway?.degraded() ?? {},
  };
  const app = await NestFactory.create(GatewayModule.with(values, logger, readiness), new FastifyAdapter(), {
    logger: nestLogger(logger),
    abortOnError: false,
  });
  await app.listen(values.GATEWAY_ADMIN_PORT, values.ADMIN_HOST);
  const service = app.get(GatewayService);
  await service.start();
  gateway = service;
  return {
    logger,
    delayMs: values.SHUTDOWN_DELAY_SECONDS * 1000,
    graceMs: values.SHUTDOWN_GRACE_SECONDS * 1000 + 2000,
    drain: () => service.drain(),
    stop: () => app.close(),
  };
});
