import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LOGGER } from '@sluice/service';
import { Counter, Gauge, type Logger, METRICS, type Registry } from '@sluice/telemetry';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { SETTINGS, type UserSettings } from '../settings.js';
import { Composer, type OutboxRow } from './composer.js';
import { Outbox } from './outbox.js';
import { MailRefused, type Transport, transportOf } from './transport.js';

/** Mails that other replicas have added, and those that are due again, are looked for this often. */
const POLL_MS = 1000;
/** The first wait after a failure; it doubles, up to an hour. */
const RETRY_SECONDS = 5;
const RETRY_SECONDS_MAX = 3600;

/** Whoever takes rows has them until they would be due again, which is longer than handing over may take: then somebody else does. */
const TAKE = `update mail_outbox set attempts = attempts + 1, due_at = clock_timestamp() + $2 * interval '1 second'
  where id in (
    select id from mail_outbox where due_at <= clock_timestamp() order by due_at limit $1 for update skip locked)
  returning id, kind, tenant, owner, email, email_key, attempts, created_at::text as asked_at,
    created_at < clock_timestamp() - $3 * interval '1 hour' as too_old`;

/** A mail that was asked for again while it was on its way is due again. */
const DONE = 'delete from mail_outbox where id = $1 and created_at::text = $2';
const LATER = `update mail_outbox set due_at = clock_timestamp() + $3 * interval '1 second'
  where id = $1 and created_at::text = $2`;

/**
 * Hands over what the outbox holds. A mail leaves the outbox after the server has taken it, so none is lost and one may come twice:
 * when the process dies in between, or the answer of the server is lost; of two with a link the later one's works.
 */
@Injectable()
export class MailSender implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly transport: Transport | undefined;
  private readonly sent: Counter<'kind' | 'outcome'>;
  private readonly waiting: Gauge;
  private subscription: Subscription | undefined;
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> | undefined;
  private again = false;
  private stopped = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly outbox: Outbox,
    private readonly composer: Composer,
    @Inject(SETTINGS) private readonly settings: UserSettings,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(METRICS) metrics: Registry,
  ) {
    this.transport = transportOf(settings);
    const registers = [metrics];
    const help = 'Mails by kind and outcome: sent, moot, failed (tried again), refused, too-old';
    this.sent = new Counter({ name: 'sluice_mails_total', help, labelNames: ['kind', 'outcome'], registers });
    this.waiting = new Gauge({ name: 'sluice_mails_waiting', help: 'Mails that wait to be sent', registers });
  }

  onApplicationBootstrap(): void {
    if (!this.transport) return;
    this.subscription = this.outbox.added.subscribe(() => this.run());
    this.timer = setInterval(() => this.run(), POLL_MS).unref();
    this.run();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
    this.subscription?.unsubscribe();
    await this.round;
    this.transport?.close();
  }

  /** One round at a time; what comes meanwhile has another one follow. */
  private run(): void {
    if (this.round) {
      this.again = true;
      return;
    }
    this.round = this.sendAll()
      .catch((error: unknown) => this.logger.warn({ err: error }, 'the outbox of mails cannot be read'))
      .finally(() => {
        this.round = undefined;
        if (this.again && !this.stopped) this.run();
        this.again = false;
      });
  }

  private async sendAll(): Promise<void> {
    const { MAIL_CONCURRENCY, MAIL_TIMEOUT_SECONDS, MAIL_RETRY_HOURS } = this.settings;
    for (let full = true; full && !this.stopped;) {
      const values = [MAIL_CONCURRENCY, 2 * MAIL_TIMEOUT_SECONDS + 10, MAIL_RETRY_HOURS];
      const [rows] = await this.dataSource.query<[OutboxRow[], number]>(TAKE, values);
      await Promise.all(rows.map((row) => this.sendOne(row)));
      full = rows.length === MAIL_CONCURRENCY;
    }
    const [count] = await this.dataSource.query<[{ n: number }]>('select count(*)::int as n from mail_outbox');
    this.outbox.waiting = count.n;
    this.waiting.set(count.n);
  }

  private async sendOne(row: OutboxRow): Promise<void> {
    const { id, kind, attempts, asked_at: asked } = row;
    const outcome = await this.handOver(row);
    this.sent.inc({ kind, outcome });
    if (outcome !== 'failed') await this.dataSource.query(DONE, [id, asked]);
    else {
      const seconds = Math.min(RETRY_SECONDS * 2 ** Math.min(attempts - 1, 12), RETRY_SECONDS_MAX);
      await this.dataSource.query(LATER, [id, asked, seconds]);
    }
  }

  /** Logs say which mail, by number and kind; whom it is to and what its link is stands in the mail alone. */
  private async handOver(row: OutboxRow): Promise<'sent' | 'moot' | 'failed' | 'refused' | 'too-old'> {
    const { id, kind, attempts } = row;
    const fields = { mail: id, kind, attempts };
    if (row.too_old) {
      this.logger.error(fields, 'a mail could not be sent in time and is given up');
      return 'too-old';
    }
    try {
      const filled = await this.composer.compose(row);
      if (!filled) return 'moot';
      const from = this.settings.MAIL_FROM;
      const messageId = `<sluice-${id}@${from.slice(from.indexOf('@') + 1)}>`;
      const file = await this.transport!.send({ ...filled, messageId, from });
      this.logger.info({ ...fields, ...(file !== undefined && { file }) }, 'a mail was sent');
      return 'sent';
    } catch (error) {
      if (error instanceof MailRefused) {
        this.logger.warn({ ...fields, reason: error.message }, 'a mail was refused for good');
        return 'refused';
      }
      this.logger.warn({ ...fields, err: error }, 'a mail could not be sent and is tried again');
      return 'failed';
    }
  }
}
