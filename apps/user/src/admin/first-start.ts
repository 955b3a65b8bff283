import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { takeLock } from '@sluice/storage';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { readPassword } from '../accounts/credentials.js';
import { readEmail } from '../accounts/email.js';
import { PasswordHasher } from '../accounts/password-hasher.js';
import { SETTINGS, type UserSettings } from '../settings.js';

/** Replicas that start together create one administrator. */
const FIRST_START_LOCK = 'first-start';

/** Creates the default tenant and, where nobody administers it, its administrator. */
@Injectable()
export class FirstStart implements OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly hasher: PasswordHasher,
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { DEFAULT_TENANT, ADMIN_PASSWORD_FILE } = this.settings;
    await this.dataSource.transaction(async (manager) => {
      await takeLock(manager, FIRST_START_LOCK);
      await manager.query('insert into tenants (id, name) values ($1, $1) on conflict do nothing', [DEFAULT_TENANT]);
      const admins = await manager.query<unknown[]>(
        `select 1 from users where tenant = $1 and 'admin' = any(roles) limit 1`,
        [DEFAULT_TENANT],
      );
      if (admins.length > 0) return;
      const password = this.password();
      if (password === undefined) return;
      const email = readEmail(this.settings.ADMIN_EMAIL, 'ADMIN_EMAIL');
      const passwordHash = await this.hasher.hash(readPassword(password, 'ADMIN_PASSWORD_FILE'));
      const id = randomUUID();
      const created = await manager.query<unknown[]>(
        `insert into users (id, tenant, email, email_key, password_hash, display_name, roles, email_verified_at)
         values ($1, $2, $3, $4, $5, 'Administrator', '{admin,operator}', clock_timestamp())
         on conflict (tenant, email_key) do nothing returning id`,
        [id, DEFAULT_TENANT, email.text, email.key, passwordHash],
      );
      if (created.length === 0) {
        this.logger.warn('nobody is an administrator, and ADMIN_EMAIL is the address of somebody who is none');
        return;
      }
      await manager.query(
        `insert into audit_events (tenant, action, outcome, subject) values ($1, 'admin.create', 'success', $2)`,
        [DEFAULT_TENANT, id],
      );
      this.logger.info({ password_file: ADMIN_PASSWORD_FILE }, 'created the first administrator, ADMIN_EMAIL');
    });
  }

  /** From the file, or a new one that is written to it. It is never logged. */
  private password(): string | undefined {
    const { ADMIN_PASSWORD_FILE: file } = this.settings;
    try {
      if (existsSync(file)) return readFileSync(file, 'utf8').trimEnd();
      const password = randomBytes(18).toString('base64url');
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(file, `${password}\n`, { mode: 0o600, flag: 'wx' });
      return password;
    } catch (error) {
      this.logger.error({ err: error, password_file: file }, 'no administrator was created: the file cannot be used');
      return undefined;
    }
  }
}
