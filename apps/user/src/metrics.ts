import { Inject, Injectable } from '@nestjs/common';
import { Counter, Gauge, METRICS, type Registry } from '@sluice/telemetry';
import { PasswordHasher } from './accounts/password-hasher.js';
import { turnRefusals } from './protection/fair-turns.js';

/** What the user service counts besides its calls. */
@Injectable()
export class UserMetrics {
  readonly logins: Counter<'outcome'>;
  readonly refreshes: Counter<'outcome'>;
  readonly guests: Counter<'outcome'>;
  readonly guestsHourlyMax: Gauge;
  readonly pruned: Counter<'table'>;
  readonly watchers: Gauge;
  readonly signingKeyAge: Gauge;

  constructor(@Inject(METRICS) metrics: Registry, hasher: PasswordHasher) {
    const registers = [metrics];
    const { turns } = hasher;
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    const total = (name: string, help: string, read: () => number) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    const counter = <Label extends string>(name: string, help: string, label: Label) =>
      new Counter({ name, help, labelNames: [label], registers });
    this.logins = counter('sluice_logins_total', 'Logins with a password by outcome', 'outcome');
    this.refreshes = counter('sluice_refreshes_total', 'Token refreshes by outcome', 'outcome');
    this.guests = counter('sluice_guest_acquisitions_total', 'Requests for guest tokens by outcome', 'outcome');
    this.pruned = counter('sluice_pruned_rows_total', 'Rows that were deleted because their time was over', 'table');
    this.guestsHourlyMax = new Gauge({
      name: 'sluice_guest_acquisitions_hourly_max',
      help: 'New guest tokens of the device that got most of them in the last hour',
      registers,
    });
    this.watchers = new Gauge({
      name: 'sluice_revocation_watchers',
      help: 'Gateways that receive revocations from this replica',
      registers,
    });
    this.signingKeyAge = new Gauge({
      name: 'sluice_signing_key_age_seconds',
      help: 'For how long the current signing key has been in use',
      registers,
    });
    gauge('sluice_password_queue', 'Logins and registrations that wait for their password', () => turns.queued);
    gauge('sluice_password_queue_tenants', 'Tenants of which passwords wait to be hashed', () => turns.shareCount);
    gauge('sluice_password_queue_longest', 'Passwords that wait of the tenant with most of them', () => turns.longest);
    total('sluice_password_waited_total', 'Passwords that waited and were hashed', () => turns.waited.pieces);
    total('sluice_password_waited_seconds_total', 'How long they waited, in all', () => turns.waited.ms / 1000);
    new Counter({
      name: 'sluice_password_refusals_total',
      help: 'Passwords that were not hashed: the wait was too long or longer than the deadline, too many waited, or it had become too late',
      labelNames: ['reason'],
      registers,
      collect() {
        this.reset();
        for (const reason of turnRefusals) this.inc({ reason }, turns.refused[reason]);
      },
    });
  }
}
