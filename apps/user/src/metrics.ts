import { Inject, Injectable } from '@nestjs/common';
import { Counter, Gauge, METRICS, type Registry } from '@sluice/telemetry';
import { PasswordHasher } from './accounts/password-hasher.js';

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
  readonly passwordQueue: Gauge;

  constructor(@Inject(METRICS) metrics: Registry, hasher: PasswordHasher) {
    const registers = [metrics];
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
    this.passwordQueue = new Gauge({
      name: 'sluice_password_queue',
      help: 'Logins and registrations that wait for their password to be hashed',
      registers,
      collect(this: Gauge) {
        this.set(hasher.queued);
      },
    });
  }
}
