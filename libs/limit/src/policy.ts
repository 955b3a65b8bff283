import type { BlockedBy } from '@sluice/problem';

/** What a bucket belongs to. A policy with several has one bucket for each combination of their values. */
export type Dimension = Exclude<BlockedBy, 'budget' | 'caller_tokens' | 'caller_requests' | 'account'>;

/**
 * How a bucket counts:
 * - `sliding_window`: never more than `limit` in any trailing window (see algorithms/sliding-window.ts);
 * - `token_bucket`: `burst` at once and `limit` a window on average, so never more than `burst + limit` in any
 *   trailing window (see algorithms/token-bucket.ts).
 */
export type Algorithm = 'token_bucket' | 'sliding_window';

/** What happens to a call while the shared store cannot be asked: counted in this process, let through, or refused. */
export type StoreLossMode = 'local' | 'open' | 'closed';

/** A limit as an operator declares it. */
export interface Policy {
  /** Names the policy in answers, metrics and store keys: letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  readonly dimensions: readonly Dimension[];
  readonly algorithm: Algorithm;
  /** Units in a window. */
  readonly limit: number;
  readonly windowMs: number;
  /** `token_bucket` only: units at once; the limit when absent. */
  readonly burst?: number;
  /** Units of one call; 1 when absent. */
  readonly cost?: number;
  /** Decided and counted, never enforced. */
  readonly shadow?: boolean;
  readonly onStoreLoss?: StoreLossMode;
}

/** A policy that was checked, with what the stores compute from it. Times are whole microseconds. */
export interface CompiledPolicy extends Required<Policy> {
  /** Separates the buckets of policies in a store; a policy whose numbers change keeps its buckets. */
  readonly id: string;
  /** A small number for the id, the same in all of this process: an index where a map would be too slow. */
  readonly slot: number;
  /** What `details.blocked_by` says: the first of the dimensions. */
  readonly blockedBy: Dimension;
  /** The most units a full bucket gives at once. */
  readonly capacity: number;
  readonly windowUs: number;
  /** `token_bucket`: time in which one unit comes back, rounded up so that rounding never admits more. */
  readonly unitUs: number;
  /** `sliding_window`: admissions within one grain share an entry. */
  readonly grainUs: number;
  /** After so long without a call a bucket is as good as new. */
  readonly recoveryUs: number;
  /** The policy's item of the `RateLimit-Policy` field. */
  readonly headerItem: string;
}

/** Why a policy cannot work as declared. */
export interface PolicyFault {
  /** Which of the policies. */
  readonly index: number;
  readonly key: keyof Policy;
  /** Names the policy, the value and what was expected. */
  readonly text: string;
}

/** Policies that cannot work as declared. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';

  constructor(readonly faults: readonly PolicyFault[]) {
    super(faults.map(({ text }) => text).join('\n'));
  }
}

export const POLICY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Entries that a full sliding window is kept in: an admission counts for at most 1/64 of the window too long. */
const GRAINS_PER_WINDOW = 64;
const UNITS_MAX = 1_000_000_000;
const WINDOW_MS_MAX = 366 * 24 * 3600 * 1000;
const DIMENSIONS: readonly string[] = ['user', 'key', 'ip', 'endpoint', 'tenant', 'global'] satisfies Dimension[];
const ALGORITHMS: readonly string[] = ['token_bucket', 'sliding_window'] satisfies Algorithm[];
const MODES: readonly string[] = ['local', 'open', 'closed'] satisfies StoreLossMode[];

/** @throws PolicyError naming every fault of every policy */
export function compilePolicies(policies: readonly Policy[]): CompiledPolicy[] {
  const faults: PolicyFault[] = [];
  const names = new Set<string>();
  for (const [index, policy] of policies.entries()) {
    const found = faultsOf(policy);
    if (names.has(policy.name)) {
      found.push({ key: 'name', what: 'name: used by another policy too, expected a name of its own' });
    }
    names.add(policy.name);
    for (const { key, what } of found) {
      faults.push({ index, key, text: `policy ${JSON.stringify(policy.name)}: ${what}` });
    }
  }
  if (faults.length > 0) throw new PolicyError(faults);
  return policies.map(compile);
}

function faultsOf(policy: Policy): { key: keyof Policy; what: string }[] {
  const faults: { key: keyof Policy; what: string }[] = [];
  const check = (ok: boolean, key: keyof Policy, expectation: string) => {
    if (!ok) faults.push({ key, what: `${key} ${JSON.stringify(policy[key])}: expected ${expectation}` });
  };
  const whole = (value: number, max: number) => Number.isInteger(value) && value >= 1 && value <= max;
  const { dimensions, burst, cost } = policy;
  check(POLICY_NAME.test(policy.name), 'name', '1 to 64 letters, digits, ".", "_" or "-"');
  check(
    dimensions.length > 0 &&
      new Set(dimensions).size === dimensions.length &&
      dimensions.every((dimension) => DIMENSIONS.includes(dimension)),
    'dimensions',
    `one or more of ${DIMENSIONS.join(', ')}, each once`,
  );
  check(ALGORITHMS.includes(policy.algorithm), 'algorithm', `one of ${ALGORITHMS.join(', ')}`);
  check(whole(policy.limit, UNITS_MAX), 'limit', `a whole number from 1 to ${UNITS_MAX}`);
  check(whole(policy.windowMs, WINDOW_MS_MAX), 'windowMs', `whole milliseconds from 1 to ${WINDOW_MS_MAX} (366 days)`);
  if (policy.algorithm === 'token_bucket') {
    check(policy.limit <= policy.windowMs * 1000, 'limit', 'at most one unit a microsecond');
    check(burst === undefined || whole(burst, UNITS_MAX), 'burst', `a whole number from 1 to ${UNITS_MAX}`);
  } else {
    check(burst === undefined, 'burst', 'no burst: a sliding_window admits its limit at once');
  }
  const capacity = burst ?? policy.limit;
  check(
    cost === undefined || whole(cost, capacity),
    'cost',
    `a whole number from 1 to ${capacity}, what the bucket holds`,
  );
  check(
    policy.onStoreLoss === undefined || MODES.includes(policy.onStoreLoss),
    'onStoreLoss',
    `one of ${MODES.join(', ')}`,
  );
  return faults;
}

function compile(policy: Policy): CompiledPolicy {
  const capacity = policy.burst ?? policy.limit;
  const windowUs = policy.windowMs * 1000;
  const unitUs = Math.ceil(windowUs / policy.limit);
  const isBucket = policy.algorithm === 'token_bucket';
  const id = `${policy.name}:${isBucket ? 'b' : 'w'}`;
  return {
    name: policy.name,
    dimensions: policy.dimensions,
    algorithm: policy.algorithm,
    limit: policy.limit,
    windowMs: policy.windowMs,
    burst: capacity,
    cost: policy.cost ?? 1,
    shadow: policy.shadow ?? false,
    onStoreLoss: policy.onStoreLoss ?? 'local',
    id,
    slot: slotOf(id),
    blockedBy: policy.dimensions[0] as Dimension,
    capacity,
    windowUs,
    unitUs,
    grainUs: Math.max(1, Math.ceil(windowUs / GRAINS_PER_WINDOW)),
    recoveryUs: isBucket ? capacity * unitUs : windowUs,
    headerItem:
      `"${policy.name}";q=${policy.limit};w=${Math.max(1, Math.ceil(policy.windowMs / 1000))}` +
      (isBucket && capacity !== policy.limit ? `;sluice-burst=${capacity}` : ''),
  };
}

const slots = new Map<string, number>();

function slotOf(id: string): number {
  const known = slots.get(id);
  if (known !== undefined) return known;
  slots.set(id, slots.size);
  return slots.size - 1;
}
