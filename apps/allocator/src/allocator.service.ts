import { readSettings } from '@sluice/config';
import { type Caller, postgresReadiness, type ServiceDefinition } from '@sluice/service';
import { DataSource } from 'typeorm';
import { AllocatorModule } from './allocator.module.js';
import { allocatorSettings, checkLeases } from './settings.js';

/** The allocator as the environment asks for it. */
export function allocatorService(environment: NodeJS.ProcessEnv = process.env): ServiceDefinition {
  const settings = readSettings(allocatorSettings(environment), environment);
  checkLeases(settings);
  return {
    name: 'allocator',
    packages: [
      { name: 'sluice.allocator.v1', file: 'sluice/allocator/v1/allocator.proto' },
      { name: 'sluice.allocator.v1', file: 'sluice/allocator/v1/budget.proto' },
    ],
    grpcPort: settings.ALLOCATOR_PORT,
    adminPort: settings.ALLOCATOR_ADMIN_PORT,
    settings,
    module: AllocatorModule.with(settings),
    everyone: settings.ALLOC_OPEN ? everyoneOf(settings.DEFAULT_TENANT) : undefined,
    readiness: (app) => postgresReadiness(app.get(DataSource)),
  };
}

function everyoneOf(tenant: string): Caller {
  return {
    subject: 'everyone',
    tenant,
    session: '',
    roles: ['admin'],
    scope: '',
    guest: false,
    account: '',
    key: '',
    models: [],
  };
}
