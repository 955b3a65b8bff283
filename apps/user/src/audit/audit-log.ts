import { Injectable } from '@nestjs/common';
import type { Problem } from '@sluice/problem';
import type { Call, RefusalRecord } from '@sluice/service';
import { execute, statement } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { LateRecords } from './late-records.js';

/** What is worth recording. */
export type AuditAction =
  | 'account.register'
  | 'account.create'
  | 'account.delete'
  | 'account.displace'
  | 'account.erase'
  | 'account.export'
  | 'account.lock'
  | 'account.rename'
  | 'account.restore'
  | 'account.unlock'
  | 'account.roles'
  | 'account.verify'
  | 'admin.create'
  | 'admin.refused'
  | 'email.change'
  | 'email.change-request'
  | 'api-key.create'
  | 'api-key.rename'
  | 'api-key.revoke'
  | 'api-key.rotate'
  | 'client.token'
  | 'guest.create'
  | 'guest.upgrade'
  | 'invitation.accept'
  | 'invitation.create'
  | 'invitation.revoke'
  | 'keys.rotate'
  | 'login'
  | 'logout'
  | 'password.change'
  | 'password.expire'
  | 'password.reset'
  | 'password.reset-request'
  | 'password.set'
  | 'password.withdraw'
  | 'session.refresh'
  | 'session.revoke'
  | 'service-account.create'
  | 'service-account.delete'
  | 'service-account.grants'
  | 'service-account.lock'
  | 'service-account.public-key'
  | 'service-account.secret'
  | 'service-account.unlock'
  | 'session.reuse'
  | 'tenant.create'
  | 'tenant.delete'
  | 'tenant.export'
  | 'tenant.update';

/** One security event. It has no place for a secret. */
export interface AuditEvent {
  readonly tenant: string;
  readonly action: AuditAction;
  /** `success`, or why not in a word. */
  readonly outcome: string;
  /** A user id. */
  readonly subject?: string;
  readonly sessionId?: string;
}

const insertEvent = statement(
  'audit-insert',
  `insert into audit_events (tenant, action, outcome, actor, subject, session_id, address, trace_id, at)
   values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, clock_timestamp()))`,
);

/** The same event about each of these sessions ($6). */
const insertEvents = statement(
  'audit-insert-sessions',
  `insert into audit_events (tenant, action, outcome, actor, subject, session_id, address, trace_id)
   select $1, $2, $3, $4, $5, session_id, $7, $8 from unnest($6::text[]) session_id`,
);

/** The append-only record of security events: who, what, from where, with which outcome, in which trace. */
@Injectable()
export class AuditLog implements RefusalRecord {
  constructor(
    private readonly dataSource: DataSource,
    private readonly late: LateRecords,
  ) {}

  async record(call: Call, event: AuditEvent): Promise<void> {
    await execute(this.dataSource, call, insertEvent, valuesOf(call, event));
  }

  /** One event for each of the sessions; none for none. */
  async recordSessions(call: Call, event: Omit<AuditEvent, 'sessionId'>, sessionIds: readonly string[]): Promise<void> {
    if (sessionIds.length === 0) return;
    const [tenant, action, outcome, actor, subject, , address, trace] = valuesOf(call, event);
    const values = [tenant, action, outcome, actor, subject, sessionIds, address, trace];
    await execute(this.dataSource, call, insertEvents, values);
  }

  /** For what failed inside: recorded now if that works, else when the database answers again, with the time of now. */
  recordLater(call: Call, event: AuditEvent): void {
    const values = valuesOf(call, event, new Date());
    this.late.add(async () => void (await this.dataSource.query(insertEvent.text, values)));
  }

  /** A call for certain roles that was refused to somebody who is known. Strangers leave no mark: anyone could fill the log. */
  refused(call: Call, { code }: Problem): void {
    const { caller } = call;
    if (!caller) return;
    this.recordLater(call, { tenant: caller.tenant, action: 'admin.refused', outcome: code.toLowerCase() });
  }

  /** Within a transaction: recorded exactly when the rest happens. */
  async recordWithin(manager: EntityManager, call: Call, event: AuditEvent): Promise<void> {
    await manager.query(insertEvent.text, valuesOf(call, event));
  }
}

function valuesOf(call: Call, event: AuditEvent, at: Date | null = null): (string | Date | null)[] {
  const { tenant, action, outcome, subject = '', sessionId = '' } = event;
  return [
    tenant,
    action,
    outcome,
    call.caller?.subject ?? '',
    subject,
    sessionId,
    call.clientAddress,
    call.trace.traceId,
    at,
  ];
}
