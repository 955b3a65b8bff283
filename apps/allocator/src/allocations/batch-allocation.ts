import type { allocatorV1 } from '@sluice/contract';
import { Problem, problems } from '@sluice/problem';
import { toAllocation } from '../messages.js';
import type { AllocationRecord } from '../batch/operation.js';
import { BATCH_REQUESTS_MAX } from './limits.js';
import type { AllocationRequest } from './allocations.js';

/**
 * Many allocations in one call, each decided by itself.
 *
 * @throws Problem INVALID_ARGUMENT for a wrong number of requests; whatever is no refusal but a failure of the service
 */
export async function allocateAll(
  requests: readonly AllocationRequest[],
  allocate: (request: AllocationRequest) => Promise<AllocationRecord>,
): Promise<allocatorV1.BatchAllocateResponse> {
  if (requests.length < 1 || requests.length > BATCH_REQUESTS_MAX) {
    throw new Problem('INVALID_ARGUMENT', `requests: expected 1 to ${BATCH_REQUESTS_MAX}`, {
      details: { field: 'requests' },
    });
  }
  const results = await Promise.allSettled(requests.map((request) => allocate(request)));
  return {
    results: results.map((result, index) => {
      const request_id = (requests[index] as AllocationRequest).request_id;
      if (result.status === 'fulfilled') return { request_id, allocation: toAllocation(result.value) };
      return { request_id, refusal: toRefusal(result.reason) };
    }),
  };
}

function toRefusal(reason: unknown): allocatorV1.BatchAllocateResponse_Refusal {
  if (!(reason instanceof Problem) || reason.code === 'INTERNAL') throw reason;
  const { largest_remaining: largest, retry_after_ms: wait, account, limit, remaining } = reason.details;
  const byLimit = reason.details['blocked_by'] === 'account';
  return {
    code: reason.code,
    detail: reason.message || problems[reason.code].title,
    largest_remaining: largest === undefined ? undefined : String(largest),
    retry_after_ms: wait === undefined ? undefined : String(wait),
    account: byLimit ? String(account) : undefined,
    limit_id: byLimit ? String(limit) : undefined,
    remaining: byLimit ? String(remaining) : undefined,
  };
}
