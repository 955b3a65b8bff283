import { Injectable } from '@nestjs/common';
import type { accountV1 } from '@sluice/contract';
import type { Call, Caller } from '@sluice/service';
import { DataSource } from 'typeorm';
import { AuditLog } from '../audit/audit-log.js';
import { unknownTenant } from '../members/tenants.js';

/** Rows that are read at once. */
const PAGE = 500;

interface Source {
  readonly kind: string;
  /** Rows with an `id` above `$2`, in order; `$1` is whom they are about, `$3` the tenant. */
  readonly rows: string;
  /** The id before the first. */
  readonly first: string;
}

const NIL = '00000000-0000-0000-0000-000000000000';
const USER = `id, email, display_name, tenant, roles, guest, created_at, email_verified_at, locked_at, delete_at, password_expired`;
const SESSION = `id, user_id, device, address, created_at, rotated_at, idle_until, absolute_until, revoked_at, revoked_because`;
const EVENT = `id, at, tenant, action, outcome, actor, subject, session_id, address, trace_id`;
const API_KEY = `id, user_id, account_id, name, environment, roles, scopes, methods, models, networks, created_at, expires_at, revoked_at, last_used_at`;
const EMAIL_CHANGE = 'id, email, old_confirmed, new_confirmed, expires_at';

/** What is kept about a user. Secrets (hashes, keys of sessions) are not data that a user gave or that tells of him. */
const OF_USER: readonly Source[] = [
  { kind: 'account', first: NIL, rows: `select ${USER} from users where id = $1 and id > $2 and tenant = $3` },
  {
    kind: 'session',
    first: NIL,
    rows: `select ${SESSION} from sessions where user_id = $1 and id > $2 and tenant = $3`,
  },
  {
    kind: 'email_change',
    first: NIL,
    rows: `select ${EMAIL_CHANGE} from email_changes where user_id = $1 and id > $2 and $3 <> ''`,
  },
  {
    kind: 'api_key',
    first: NIL,
    rows: `select ${API_KEY} from api_keys where user_id = $1 and id > $2 and tenant = $3`,
  },
  {
    kind: 'audit_event',
    first: '0',
    rows: `select ${EVENT} from audit_events where tenant = $3 and subject = $1::text and id > $2`,
  },
  {
    kind: 'audit_event_of_yours',
    first: '0',
    rows: `select ${EVENT} from audit_events where actor = $1::text and subject <> $1::text and id > $2 and $3 <> ''`,
  },
];

const OF_TENANT: readonly Source[] = [
  { kind: 'account', first: NIL, rows: `select ${USER} from users where tenant = $1 and id > $2 and $3 <> ''` },
  { kind: 'session', first: NIL, rows: `select ${SESSION} from sessions where tenant = $1 and id > $2 and $3 <> ''` },
  { kind: 'api_key', first: NIL, rows: `select ${API_KEY} from api_keys where tenant = $1 and id > $2 and $3 <> ''` },
  {
    kind: 'service_account',
    first: NIL,
    rows: `select id, name, roles, scopes, created_at from service_accounts where tenant = $1 and id > $2 and $3 <> ''`,
  },
  {
    kind: 'invitation',
    first: NIL,
    rows: `select id, email, roles, created_at, expires_at from invitations where tenant = $1 and id > $2 and $3 <> ''`,
  },
  {
    kind: 'audit_event',
    first: '0',
    rows: `select ${EVENT} from audit_events where tenant = $1 and id > $2 and $3 <> ''`,
  },
];

/** What other services of ours keep, which this one cannot read: said, so that nobody takes the export for all there is. */
const ELSEWHERE = [
  {
    service: 'postcard',
    what: 'The sessions that you have opened and their messages, under your id; they are deleted when a session has not been used for its idle time.',
    where: 'GET /api/v1/sessions/{session_id}/messages',
  },
  {
    service: 'allocator',
    what: 'The token allocations that you have made: your id, counts and times. When the account is deleted the id means nobody.',
    where: 'GET /api/v1/allocations',
  },
] as const;

/** Everything that is kept, record after record; never more than a page in memory. */
@Injectable()
export class Exports {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
  ) {}

  async *ofUser(call: Call, { tenant, subject }: Caller): AsyncGenerator<accountV1.ExportRecord> {
    await this.audit.record(call, { tenant, action: 'account.export', outcome: 'success', subject });
    yield* this.all(call, OF_USER, subject, tenant);
    for (const data of ELSEWHERE) yield record(data.service, 'kept_elsewhere', data);
    yield record('user', 'end', {});
  }

  /** That it came to its end is kept: a tenant is deleted only after it. @throws Problem NOT_FOUND */
  async *ofTenant(call: Call, tenant: string): AsyncGenerator<accountV1.ExportRecord> {
    const [row] = await this.dataSource.query<object[]>(
      'select id, name, open_registration, created_at from tenants where id = $1 and delete_at is null',
      [tenant],
    );
    if (!row) throw unknownTenant();
    yield record('user', 'tenant', row);
    yield* this.all(call, OF_TENANT, tenant, tenant);
    await this.dataSource.query('update tenants set exported_at = clock_timestamp() where id = $1', [tenant]);
    await this.audit.record(call, { tenant, action: 'tenant.export', outcome: 'success' });
    yield record('user', 'end', {});
  }

  private async *all(call: Call, sources: readonly Source[], of: string, tenant: string) {
    for (const { kind, rows: text, first } of sources) {
      for (let after = first, full = true; full && !call.signal.aborted;) {
        const rows = await this.dataSource.query<{ id: string }[]>(`${text} order by id limit ${PAGE}`, [
          of,
          after,
          tenant,
        ]);
        for (const row of rows) yield record('user', kind, row);
        full = rows.length === PAGE;
        after = rows.at(-1)?.id ?? after;
      }
    }
  }
}

export function record(service: string, kind: string, data: object): accountV1.ExportRecord {
  return { service, kind, data: valueOf(data) };
}

/** As proto-loader writes a google.protobuf.Struct. */
function structOf(data: object): object {
  return { fields: Object.fromEntries(Object.entries(data).map(([name, value]) => [name, valueOf(value)])) };
}

function valueOf(value: unknown): object {
  if (value === null || value === undefined) return { nullValue: 0 };
  if (value instanceof Date) return { stringValue: value.toISOString() };
  if (Array.isArray(value)) return { listValue: { values: value.map(valueOf) } };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'object') return { structValue: structOf(value) };
  return { stringValue: String(value as string) };
}
