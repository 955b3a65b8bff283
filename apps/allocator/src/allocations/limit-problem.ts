import { Problem, type ProblemDetails } from '@sluice/problem';
import type { LimitRefusal, Outcome } from '../batch/operation.js';

/** A refusal by a limit as its caller reads it: which one, what is left, and when trying again can help. */
export function limitProblem(refusal: LimitRefusal): Problem {
  const { account, accountId, limitId, unit, period, remaining, asked, ceiling, endsUs, atUs } = refusal;
  // What is more than there ever is in a period does not fit in the next one either.
  const never = BigInt(asked) > BigInt(ceiling) || ceiling === '0';
  const resets = endsUs === undefined ? undefined : new Date(Number(endsUs / 1000n)).toISOString();
  const details: ProblemDetails = {
    blocked_by: 'account',
    account,
    account_id: accountId,
    limit: limitId,
    unit,
    period,
    remaining,
    requested: asked,
    ceiling,
    ...(resets !== undefined && { resets_at: resets }),
    ...(never && { should_retry: false }),
    ...(!never && endsUs !== undefined && { retry_after_ms: Math.max(1, Number((endsUs - atUs) / 1000n) + 1) }),
  };
  const whose = account === '' ? 'The budget of the tenant' : `The budget of ${account}`;
  const left = `${whose} has ${remaining} of ${ceiling} ${unit} left (${period}), and ${asked} are needed`;
  const then = never
    ? 'it never has as many'
    : resets === undefined
      ? 'it does not return by itself'
      : `it returns at ${resets}`;
  return new Problem('BUDGET_EXHAUSTED', `${left}; ${then}.`, { details });
}

export function accountProblem(result: Outcome['result']): Problem {
  switch (result) {
    case 'account closed':
      return new Problem('FAILED_PRECONDITION', 'The account is closed, or one above it is.', {
        details: { field: 'account' },
      });
    case 'no own account':
      return new Problem('PERMISSION_DENIED', 'The account that your key or token names does not exist.');
    default:
      return new Problem('NOT_FOUND', 'There is no such account at or below yours.', { details: { field: 'account' } });
  }
}
