import { Inject, Injectable } from '@nestjs/common';
import type { allocatorV1 } from '@sluice/contract';
import type { Call, Caller } from '@sluice/service';
import { execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { states, type AllocationRecord } from '../batch/operation.js';
import { SHOWN_STATE, shown, shownColumns, type ShownRow } from './allocation-reader.js';
import { invalid, readName, readNodeId, readRequestId } from './reading.js';
import { type Scope, Scopes } from './scope.js';

const PAGE_USUAL = 100;
const PAGE_MAX = 1000;

export interface ListedAllocation extends AllocationRecord {
  readonly tenant: string;
  readonly subject: string;
}

export interface AllocationPage {
  readonly allocations: readonly ListedAllocation[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

interface Row extends ShownRow {
  readonly tenant: string;
  readonly subject: string;
}

/** The last allocation of the page before. */
interface Position {
  readonly createdUs: string;
  readonly tenant: string;
  readonly requestId: string;
}

const AT = `'epoch'::timestamptz + $5::bigint * interval '1 microsecond'`;

/**
 * Newest first; the ids of one moment, which a batch gives to all of its allocations, are ordered by themselves. `$9` is how far back
 * it looks.
 */
const listing = (name: string, whose: string) =>
  statement<Row>(
    name,
    `select a.tenant, a.subject, ${shownColumns}
      from allocations a
      where ${whose} and a.create_time > coalesce(${AT}, clock_timestamp()) - $9::text::interval
        and ($5::bigint is null or (a.create_time <= ${AT}
          and (a.create_time < ${AT} or (a.request_id, a.tenant) > ($6, $7))))
        and ($3::int = 0 or ${SHOWN_STATE} = $3) and ($4 = '' or a.node_id = $4)
      order by a.create_time desc, a.request_id, a.tenant
      limit $8`,
  );

const statements = {
  caller: listing('list_of_caller', 'a.tenant = $1 and a.subject = $2'),
  tenant: listing('list_of_tenant', 'a.tenant = $1 and $2::text is null'),
  subject: listing('list_of_subject', '$1::text is null and a.subject = $2'),
  all: listing('list_of_all', '$1::text is null and $2::text is null'),
};

/** Most pages are found in the first of these; only the last looks at everything. */
const LOOK_BACK = ['10 minutes', '3 hours', '3 days', '1000 years'] as const;

/** Allocations of a caller or of all, newest first, in pages. */
@Injectable()
export class AllocationList {
  constructor(
    @Inject(DataSource) private readonly dataSource: DataSource,
    private readonly scopes: Scopes,
  ) {}

  /** @throws Problem INVALID_ARGUMENT, PERMISSION_DENIED */
  async page(call: Call, caller: Caller, request: allocatorV1.ListAllocationsRequest): Promise<AllocationPage> {
    const { tenant, subject } = this.scopes.of(caller, request);
    const size = readPageSize(request.page_size);
    const state = readState(request.state);
    const nodeId = request.node_id === '' ? '' : readNodeId(request.node_id);
    const from = request.page_token === '' ? undefined : readPosition(request.page_token);
    const values = [
      tenant ?? null,
      subject ?? null,
      state,
      nodeId,
      from?.createdUs ?? null,
      from?.requestId ?? null,
      from?.tenant ?? null,
      size + 1,
    ];
    let rows: Row[] = [];
    for (const lookBack of LOOK_BACK) {
      rows = await execute(this.dataSource, call, statementOf({ tenant, subject }), [...values, lookBack]);
      if (rows.length > size) break;
    }
    const found = rows.slice(0, size);
    return {
      allocations: found.map((row) => ({ ...shown(row), tenant: row.tenant, subject: row.subject })),
      nextPageToken: rows.length > size ? tokenOf(found.at(-1) as Row) : '',
    };
  }
}

function statementOf({ tenant, subject }: Scope) {
  if (tenant === undefined) return subject === undefined ? statements.all : statements.subject;
  return subject === undefined ? statements.tenant : statements.caller;
}

function readPageSize(size: number): number {
  if (size < 0 || size > PAGE_MAX) throw invalid('page_size', `a whole number from 0 to ${PAGE_MAX}`);
  return size === 0 ? PAGE_USUAL : size;
}

function readState(state: number): number {
  if (state !== 0 && !Object.values<number>(states).includes(state)) {
    throw invalid('state', Object.keys(states).join(', ').toUpperCase());
  }
  return state;
}

function tokenOf({ created_us, tenant, request_id }: Row): string {
  return Buffer.from(JSON.stringify([created_us, tenant, request_id])).toString('base64url');
}

/** @throws Problem INVALID_ARGUMENT for what this service has not given */
function readPosition(token: string): Position {
  try {
    const parts = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[];
    const [createdUs, tenant, requestId] = parts as [string, string, string];
    if (parts.length === 3 && /^\d{1,16}$/.test(createdUs)) {
      return { createdUs, tenant: readName('tenant', tenant), requestId: readRequestId(requestId) };
    }
  } catch {
    // It is refused below.
  }
  throw invalid('page_token', 'the next_page_token of the page before');
}
