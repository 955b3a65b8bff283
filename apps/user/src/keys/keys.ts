import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { SETTINGS, type UserSettings } from '../settings.js';
import { createMissingKeys, type KeyRing, readKeyRing } from './key-ring.js';

/** How soon a replica signs with a key that another process made current, at the latest. */
export const POLL_MS = 2000;

/** The key ring of this process, which follows the database. */
@Injectable()
export class Keys implements OnModuleInit, OnModuleDestroy {
  private ring: KeyRing | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    await createMissingKeys(this.dataSource, this.settings.MASTER_KEY);
    await this.reload();
    this.timer = setInterval(() => void this.follow(), POLL_MS).unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  get current(): KeyRing {
    if (!this.ring) throw new Error('the keys are not loaded yet');
    return this.ring;
  }

  async reload(): Promise<KeyRing> {
    this.ring = await readKeyRing(this.dataSource, this.settings.MASTER_KEY);
    return this.ring;
  }

  private async follow(): Promise<void> {
    try {
      await this.reload();
    } catch (error) {
      this.logger.error({ err: error }, 'the signing keys could not be read; the ones in memory stay in use');
    }
  }
}
