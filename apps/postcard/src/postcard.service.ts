import { ConfigurationError, readSettings } from '@sluice/config';
import { postgresReadiness, type ServiceDefinition } from '@sluice/service';
import { DataSource } from 'typeorm';
import { PostcardModule } from './postcard.module.js';
import { postcardSettings } from './settings.js';

/** The sample workload as the environment asks for it. */
export function postcardService(environment: NodeJS.ProcessEnv = process.env): ServiceDefinition {
  const settings = readSettings(postcardSettings(environment), environment);
  if (settings.GATEWAY_SECRET !== undefined && settings.ALLOCATOR_SECRET === undefined) {
    throw new ConfigurationError([
      'ALLOCATOR_SECRET is not set: expected what `sluice-gateway --secret-of allocator --held-by postcard` prints, since GATEWAY_SECRET is set',
    ]);
  }
  return {
    name: 'postcard',
    packages: [{ name: 'sluice.postcard.v1', file: 'sluice/postcard/v1/postcard.proto' }],
    grpcPort: settings.POSTCARD_PORT,
    adminPort: settings.POSTCARD_ADMIN_PORT,
    settings,
    module: PostcardModule.with(settings),
    readiness: (app) => postgresReadiness(app.get(DataSource)),
  };
}
