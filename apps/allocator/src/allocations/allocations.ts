import { Injectable } from '@nestjs/common';
import { Problem, type ProblemDetails } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { GroupCommit } from '../batch/group-commit.js';
import { states, type AllocationRecord, type Operation, type Outcome } from '../batch/operation.js';
import { readRequestId, readTokens, readTtl } from './reading.js';

/** What a request for an allocation says, with 64-bit numbers as decimal text. */
export interface AllocationRequest {
  readonly request_id: string;
  readonly token_count: string;
  readonly ttl_seconds: string;
}

/** Roles that act for every subject of their tenant. */
const PRIVILEGED = ['service', 'admin'];

export function isPrivileged(caller: Caller): boolean {
  return PRIVILEGED.some((role) => caller.roles.includes(role));
}

/** Changes of allocations on behalf of a caller. */
@Injectable()
export class Allocations {
  constructor(private readonly groupCommit: GroupCommit) {}

  async allocate(call: Call, caller: Caller, request: AllocationRequest): Promise<AllocationRecord> {
    return this.execute(call, {
      ...asked(caller, 'allocate', request.request_id),
      tokenCount: readTokens('token_count', request.token_count),
      ttlSeconds: readTtl(request.ttl_seconds, 0),
    });
  }

  async settle(call: Call, caller: Caller, requestId: string, tokenCount: string): Promise<AllocationRecord> {
    return this.execute(call, {
      ...asked(caller, 'settle', requestId),
      tokenCount: readTokens('token_count', tokenCount),
    });
  }

  async extend(call: Call, caller: Caller, requestId: string, ttlSeconds: string): Promise<AllocationRecord> {
    return this.execute(call, { ...asked(caller, 'extend', requestId), ttlSeconds: readTtl(ttlSeconds, 1) });
  }

  async free(call: Call, caller: Caller, requestId: string): Promise<AllocationRecord> {
    return this.execute(call, asked(caller, 'free', requestId));
  }

  private async execute(call: Call, operation: Operation): Promise<AllocationRecord> {
    return allocationOf(operation, await this.groupCommit.submit(operation, call));
  }
}

function asked(caller: Caller, kind: Operation['kind'], requestId: string): Operation {
  return {
    kind,
    tenant: caller.tenant,
    requestId: readRequestId(requestId),
    subject: caller.subject,
    privileged: isPrivileged(caller),
    tokenCount: '0',
    ttlSeconds: 0,
  };
}

/** @throws Problem for every outcome but `done` */
function allocationOf(operation: Operation, outcome: Outcome): AllocationRecord {
  switch (outcome.result) {
    case 'done':
      return outcome.allocation;
    case 'not found':
      throw notFound(operation.requestId);
    case 'mismatch':
      throw new Problem('IDEMPOTENCY_MISMATCH', `The request id ${operation.requestId} was used with another payload.`);
    case 'exhausted': {
      const details: ProblemDetails = {
        blocked_by: 'budget',
        requested: operation.tokenCount,
        largest_remaining: outcome.largestRemaining,
        ...(outcome.retryAfterMs !== undefined && { retry_after_ms: outcome.retryAfterMs }),
      };
      throw new Problem('BUDGET_EXHAUSTED', `No node has ${operation.tokenCount} tokens left.`, { details });
    }
    case 'too much':
      throw new Problem(
        'INVALID_ARGUMENT',
        `token_count: expected at most ${outcome.allocation.tokenCount}, which is what was allocated`,
        { details: { field: 'token_count' } },
      );
    case 'ended':
      throw new Problem('FAILED_PRECONDITION', `The allocation is ${stateName(outcome.allocation.state)}.`, {
        details: { state: stateName(outcome.allocation.state).toUpperCase() },
      });
    case 'again':
      throw new Error('an operation that was not decided was answered');
  }
}

export function notFound(requestId: string): Problem {
  return new Problem('NOT_FOUND', `There is no allocation ${requestId}.`);
}

function stateName(state: number): string {
  const [name] = Object.entries(states).find(([, number]) => number === state) ?? [`in the state ${state}`];
  return name;
}
