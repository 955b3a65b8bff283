import { Inject, Injectable } from '@nestjs/common';
import { Problem, type ProblemDetails } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { GroupCommit } from '../batch/group-commit.js';
import { referenceOf, states, type AllocationRecord, type Operation, type Outcome } from '../batch/operation.js';
import { ASKED_MAX } from '../accounts/units.js';
import { RecentRefusals } from '../batch/recent-refusals.js';
import { type AllocatorSettings, SETTINGS } from '../settings.js';
import { accountProblem, limitProblem } from './limit-problem.js';
import { invalid, readAccount, readCost, readLabels, readPool, readRequestId, readTokens, readTtl } from './reading.js';

/** What a request for an allocation says, with 64-bit numbers as decimal text. */
export interface AllocationRequest {
  readonly request_id: string;
  readonly token_count: string;
  readonly ttl_seconds: string;
  readonly account: string;
  readonly pool: string;
  /** Micro-USD. */
  readonly cost_micros: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Roles that act for every subject of their tenant. */
const PRIVILEGED = ['service', 'admin'];

export function isPrivileged(caller: Caller): boolean {
  return PRIVILEGED.some((role) => caller.roles.includes(role));
}

/** Changes of allocations on behalf of a caller. */
@Injectable()
export class Allocations {
  constructor(
    private readonly groupCommit: GroupCommit,
    private readonly recentRefusals: RecentRefusals,
    @Inject(SETTINGS) private readonly settings: AllocatorSettings,
  ) {}

  /** @throws Problem PERMISSION_DENIED for guests, where they may not, unless a service allocates for them */
  requireAllowed(call: Call, caller: Caller): void {
    if (!caller.guest || call.service !== '' || this.settings.ALLOC_GUESTS) return;
    throw new Problem('PERMISSION_DENIED', 'Guests may not allocate; sign in with an account.');
  }

  async allocate(call: Call, caller: Caller, request: AllocationRequest): Promise<AllocationRecord> {
    const { ALLOC_LEASE_DEFAULT_SECONDS: usual, ALLOC_LEASE_MAX_SECONDS: most } = this.settings;
    return this.execute(call, {
      ...asked(caller, 'allocate', request.request_id),
      tokenCount: readTokens('token_count', request.token_count),
      // The default is told apart from what was asked for, so that a request can be repeated after the setting has changed.
      ttlSeconds: readTtl(request.ttl_seconds, 0, most) || -usual,
      cost: readCost(request.cost_micros),
      pool: readPool(request.pool),
      labels: readLabels(request.labels),
      reference: referenceOf(caller.account, readAccount('account', request.account), caller.guest),
    });
  }

  /** @param cost micro-USD; undefined: as much of what was reserved as of the tokens */
  async settle(
    call: Call,
    caller: Caller,
    requestId: string,
    tokenCount: string,
    cost: string | undefined,
  ): Promise<AllocationRecord> {
    return this.execute(call, {
      ...asked(caller, 'settle', requestId),
      tokenCount: readTokens('token_count', tokenCount),
      cost: cost === undefined ? undefined : (readCost(cost) ?? '0'),
    });
  }

  async extend(call: Call, caller: Caller, requestId: string, ttlSeconds: string): Promise<AllocationRecord> {
    const most = this.settings.ALLOC_LEASE_MAX_SECONDS;
    return this.execute(call, { ...asked(caller, 'extend', requestId), ttlSeconds: readTtl(ttlSeconds, 1, most) });
  }

  async free(call: Call, caller: Caller, requestId: string): Promise<AllocationRecord> {
    return this.execute(call, asked(caller, 'free', requestId));
  }

  private async execute(call: Call, operation: Operation): Promise<AllocationRecord> {
    const known = this.recentRefusals.of(operation);
    const outcome = known ?? (await this.groupCommit.submit(operation, call));
    this.recentRefusals.keep(operation, outcome);
    return allocationOf(operation, outcome, this.settings);
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
function allocationOf(operation: Operation, outcome: Outcome, settings: AllocatorSettings): AllocationRecord {
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
    case 'too many tokens':
      throw new Problem(
        'BUDGET_EXHAUSTED',
        `A caller holds at most ${settings.ALLOC_CALLER_TOKENS_MAX} tokens; ${outcome.callerRemaining} of them are left for you.`,
        {
          details: {
            blocked_by: 'caller_tokens',
            requested: operation.tokenCount,
            limit: String(settings.ALLOC_CALLER_TOKENS_MAX),
            remaining: outcome.callerRemaining,
          },
        },
      );
    case 'too many requests': {
      const limit = settings.ALLOC_CALLER_REQUESTS_MAX;
      throw new Problem(
        'BUDGET_EXHAUSTED',
        `A caller has at most ${limit} allocations in flight: settle or free one.`,
        {
          details: { blocked_by: 'caller_requests', limit, remaining: 0 },
        },
      );
    }
    case 'limited':
      throw limitProblem(outcome.refusal);
    case 'no account':
    case 'account closed':
    case 'no own account':
      throw accountProblem(outcome.result);
    case 'too large':
      throw invalid('token_count', `at most ${ASKED_MAX} of an account`);
    case 'no pool':
      throw invalid('pool', 'one that some node belongs to');
    case 'spent':
      throw new Problem(
        'FAILED_PRECONDITION',
        'What was settled for an account is spent until its period ends; an operator can give it back (force_free).',
        { details: { state: 'SETTLED' } },
      );
    case 'too much': {
      const { tokenCount, cost = '0' } = outcome.allocation;
      const field = BigInt(operation.tokenCount) > BigInt(tokenCount) ? 'token_count' : 'cost_micros';
      throw invalid(field, `at most ${field === 'token_count' ? tokenCount : cost}, which is what was allocated`);
    }
    case 'ended':
      throw endedProblem(operation.kind, stateName(outcome.allocation.state));
    case 'again':
      throw new Error('an operation that was not decided was answered');
  }
}

/** What is asked of an allocation that has ended. A repeated allocation is no success: nothing is reserved for it any more. */
function endedProblem(kind: Operation['kind'], state: string): Problem {
  const details = { state: state.toUpperCase() };
  if (kind !== 'allocate') return new Problem('FAILED_PRECONDITION', `The allocation is ${state}.`, { details });
  return new Problem(
    'ALLOCATION_ENDED',
    `This allocation is ${state}; use another request_id to reserve tokens again.`,
    {
      details,
    },
  );
}

export function notFound(requestId: string): Problem {
  return new Problem('NOT_FOUND', `There is no allocation ${requestId}.`);
}

function stateName(state: number): string {
  const [name] = Object.entries(states).find(([, number]) => number === state) ?? [`in the state ${state}`];
  return name;
}
