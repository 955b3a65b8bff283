import { type DynamicModule, Module } from '@nestjs/common';
import type { SettingsOf } from '@sluice/config';
import { AdminModule, type Logger, type Readiness, Registry } from '@sluice/telemetry';
import { GatewayService, LOGGER, SETTINGS } from './gateway.service.js';
import { LimitsController } from './limit/limits.controller.js';
import type { settings } from './settings.js';

/** The gateway process: its service and the admin port. */
@Module({})
export class GatewayModule {
  static with(values: SettingsOf<typeof settings>, logger: Logger, readiness: Readiness): DynamicModule {
    return {
      module: GatewayModule,
      imports: [AdminModule.with(readiness, new Registry())],
      controllers: [LimitsController],
      providers: [GatewayService, { provide: SETTINGS, useValue: values }, { provide: LOGGER, useValue: logger }],
    };
  }
}
