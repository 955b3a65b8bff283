import { readSettings } from '@sluice/config';
import { postgresReadiness, type ServiceDefinition } from '@sluice/service';
import { DataSource } from 'typeorm';
import { checkGuestSettings } from './guests/guest-limits.js';
import { checkMailSettings } from './mail/mail-settings.js';
import { userSettings } from './settings.js';
import { UserModule } from './user.module.js';

/** The user service as the environment asks for it. */
export function userService(environment: NodeJS.ProcessEnv = process.env): ServiceDefinition {
  const settings = readSettings(userSettings(environment), environment);
  checkMailSettings(settings);
  checkGuestSettings(settings, environment);
  return {
    name: 'user',
    packages: [
      { name: 'sluice.user.v1', file: 'sluice/user/v1/user.proto' },
      { name: 'sluice.account.v1', file: 'sluice/account/v1/account.proto' },
      { name: 'sluice.machines.v1', file: 'sluice/machines/v1/machines.proto' },
    ],
    grpcPort: settings.USER_PORT,
    adminPort: settings.USER_ADMIN_PORT,
    settings,
    module: UserModule.with(settings),
    readiness: (app) => postgresReadiness(app.get(DataSource)),
  };
}
