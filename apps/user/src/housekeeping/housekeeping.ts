import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { Keys } from '../keys/keys.js';
import { rotateKeys } from '../keys/rotation.js';
import { UserMetrics } from '../metrics.js';
import { SETTINGS, tokenReachSeconds, type UserSettings } from '../settings.js';
import { erase } from '../privacy/erasure.js';
import { prune } from './prune.js';

/** What happens by itself, in every replica: pruning, the rotation of keys that is due, and gauges that need the database. */
@Injectable()
export class Housekeeping implements OnApplicationBootstrap, OnModuleDestroy {
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> | undefined;
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly keys: Keys,
    private readonly metrics: UserMetrics,
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.later();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.round;
  }

  /** One round; what fails is logged and tried again in the next. */
  async run(): Promise<void> {
    for (const [name, work] of Object.entries({
      pruning: () => this.prune(),
      'the rotation of keys': () => this.rotate(),
      'the gauges': () => this.measure(),
    })) {
      try {
        await work();
      } catch (error) {
        this.logger.error({ err: error }, `${name} failed`);
      }
    }
  }

  private later(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.round = this.run().then(() => this.later());
    }, this.settings.PRUNE_SECONDS * 1000).unref();
  }

  private async prune(): Promise<void> {
    for (const deleted of [await prune(this.dataSource, this.settings.AUDIT_DAYS), await erase(this.dataSource)]) {
      for (const [table, count] of deleted) this.metrics.pruned.inc({ table }, count);
    }
  }

  private async rotate(): Promise<void> {
    const rotation = await rotateKeys(this.dataSource, {
      masterKey: this.settings.MASTER_KEY,
      publishSeconds: this.settings.KEY_PUBLISH_SECONDS,
      tokenSeconds: tokenReachSeconds(this.settings),
      auditTenant: this.settings.DEFAULT_TENANT,
      dueAfterSeconds: this.settings.KEY_ROTATION_DAYS * 86_400,
    });
    if (rotation.kind !== 'rotated') return;
    await this.keys.reload();
    this.logger.info({ current: rotation.current, previous: rotation.previous }, 'the signing key was rotated');
  }

  private async measure(): Promise<void> {
    const [row] = await this.dataSource.query<[{ most: number; key_age: number }]>(
      `select
         (select coalesce(max(n), 0)::int from (
           select count(*) as n from guest_attempts
           where outcome = 'issued' and at > clock_timestamp() - interval '1 hour' group by tenant, device) d) as most,
         (select extract(epoch from clock_timestamp() - activated_at)::float8 from signing_keys
           where state = 'current') as key_age`,
    );
    this.metrics.guestsHourlyMax.set(row.most);
    this.metrics.signingKeyAge.set(row.key_age);
  }
}
