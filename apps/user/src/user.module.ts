import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { LOGGER, REFUSALS } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { openDatabase } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { Accounts } from './accounts/accounts.js';
import { Nobody } from './accounts/nobody.js';
import { PasswordStrength } from './accounts/password-strength.js';
import { AdminController } from './admin/admin.controller.js';
import { FirstStart } from './admin/first-start.js';
import { Admission } from './accounts/admission.js';
import { EmailChange } from './addresses/email-change.js';
import { Registrations } from './addresses/registrations.js';
import { Verification } from './addresses/verification.js';
import { UserChanges } from './admin/user-changes.js';
import { Composer } from './mail/composer.js';
import { Outbox } from './mail/outbox.js';
import { MailSender } from './mail/sender.js';
import { AccountAdminController } from './members/account-admin.controller.js';
import { AccountPageController } from './members/account-page.controller.js';
import { AccountController } from './members/account.controller.js';
import { Invitations } from './members/invitations.js';
import { Members } from './members/members.js';
import { Tenants } from './members/tenants.js';
import { PasswordChange } from './passwords/password-change.js';
import { Passwords } from './passwords/passwords.js';
import { Deletion } from './privacy/deletion.js';
import { Exports } from './privacy/export.js';
import { ApiKeyController } from './api-keys/api-key.controller.js';
import { ApiKeys } from './api-keys/api-keys.js';
import { ClientCredentialsGrant } from './clients/client-credentials.js';
import { Clients } from './clients/clients.js';
import { ServiceAccountsController } from './clients/service-accounts.controller.js';
import { AuditLog } from './audit/audit-log.js';
import { LateRecords } from './audit/late-records.js';
import { Guests } from './guests/guests.js';
import { Upgrades } from './guests/upgrade.js';
import { Housekeeping } from './housekeeping/housekeeping.js';
import { UserMetrics } from './metrics.js';
import { Grants } from './oauth/grants.js';
import { OAuthController } from './oauth/oauth.controller.js';
import { ShownTokens } from './oauth/shown-tokens.js';
import { KnownTenants } from './protection/known-tenants.js';
import { Throttles } from './protection/throttles.js';
import { RevocationController } from './revocations/revocation.controller.js';
import { RevocationFeed } from './revocations/revocation-feed.js';
import { RefreshCookie } from './tokens/refresh-cookie.js';
import { TokenIssuer } from './tokens/token-issuer.js';
import { PasswordHasher } from './accounts/password-hasher.js';
import { KeyController } from './keys/key.controller.js';
import { Keys } from './keys/keys.js';
import { migrations } from './migrations/index.js';
import { Sessions } from './sessions/sessions.js';
import { SETTINGS, type UserSettings } from './settings.js';
import { UserController } from './user.controller.js';

@Module({})
export class UserModule implements OnApplicationShutdown {
  constructor(@Inject(DataSource) private readonly dataSource: DataSource) {}

  static with(settings: UserSettings): DynamicModule {
    const hasher = new PasswordHasher({
      memoryKib: settings.PASSWORD_MEMORY_KIB,
      passes: settings.PASSWORD_PASSES,
      concurrency: settings.PASSWORD_HASH_CONCURRENCY,
      queueMsMax: settings.PASSWORD_QUEUE_MS,
    });
    return {
      module: UserModule,
      controllers: [
        UserController,
        KeyController,
        OAuthController,
        AdminController,
        RevocationController,
        AccountController,
        AccountAdminController,
        ServiceAccountsController,
        ApiKeyController,
        AccountPageController,
      ],
      providers: [
        { provide: SETTINGS, useValue: settings },
        {
          provide: DataSource,
          inject: [LOGGER],
          useFactory: (logger: Logger) => openUserDatabase(settings, logger),
        },
        { provide: PasswordHasher, useValue: hasher },
        Accounts,
        ApiKeys,
        AuditLog,
        ClientCredentialsGrant,
        Clients,
        { provide: REFUSALS, useExisting: AuditLog },
        FirstStart,
        Grants,
        Guests,
        Housekeeping,
        Keys,
        KnownTenants,
        LateRecords,
        Nobody,
        PasswordStrength,
        RefreshCookie,
        RevocationFeed,
        Sessions,
        ShownTokens,
        Throttles,
        TokenIssuer,
        Upgrades,
        UserMetrics,
        Admission,
        Composer,
        Deletion,
        EmailChange,
        Exports,
        Invitations,
        MailSender,
        Members,
        Outbox,
        PasswordChange,
        Passwords,
        Registrations,
        Tenants,
        UserChanges,
        Verification,
      ],
      exports: [REFUSALS],
    };
  }

  /** The last thing: calls in flight have ended by now. */
  async onApplicationShutdown(): Promise<void> {
    await this.dataSource.destroy();
  }
}

export function openUserDatabase(settings: UserSettings, logger?: Logger): Promise<DataSource> {
  return openDatabase({
    url: settings.USER_DATABASE_URL,
    schema: 'identity',
    applicationName: 'sluice-user',
    poolSize: settings.DB_POOL_SIZE,
    poolTimeoutMs: settings.DB_POOL_TIMEOUT,
    migrations,
    waitMs: settings.DB_START_WAIT_SECONDS * 1000,
    onWait: (error) => logger?.warn({ err: error }, 'waiting for Postgres'),
  });
}
