import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import type { Logger } from '@sluice/telemetry';
import { DataSource } from 'typeorm';
import { GroupCommit } from './group-commit.js';

const INTERVAL_MS = 500;

/** Every batch ends leases that are due; this sees to it that there is a batch when nobody calls. */
@Injectable()
export class LeaseTicker implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private asking = false;

  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    private readonly groupCommit: GroupCommit,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    this.timer = setInterval(() => void this.tick(), INTERVAL_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  private async tick(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    try {
      const [row] = await this.dataSource.query<[{ due: boolean }]>(
        'select exists (select from leases where expires_at <= clock_timestamp()) as due',
      );
      if (row.due) this.groupCommit.sweep();
    } catch (error) {
      this.logger.warn({ err: error }, 'the leases could not be looked at');
    } finally {
      this.asking = false;
    }
  }
}
