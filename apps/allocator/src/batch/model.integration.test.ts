import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BudgetDatabase, operation, startBudgetDatabase } from './budget-database.fixture.js';
import { Model, type ModelAllocation, type ModelBounds, type ModelNode, type ModelOutcome } from './model.fixture.js';
import { states, type Operation, type Outcome } from './operation.js';
import type { PostgresExecutor } from './postgres-executor.js';

const THRESHOLD = 60;
/** The unit of the model's time: so long that the time which really passes never decides. */
const UNIT_SECONDS = 10_000;
const ids = Array.from({ length: 16 }, (_, index) => `k${index}`);

const anOperation = fc
  .record({
    kind: fc.constantFrom(
      'allocate' as const,
      'allocate' as const,
      'settle' as const,
      'extend' as const,
      'free' as const,
    ),
    id: fc.constantFrom(...ids),
    count: fc.oneof(fc.constantFrom(1, 20, THRESHOLD, THRESHOLD + 1, 100), fc.integer({ min: 1, max: 120 })),
    // Below zero: nothing was asked for, and there is a default.
    ttl: fc.constantFrom(0, 0, -20, 10, 100),
    subject: fc.constantFrom('alice', 'alice', 'alice', 'bob'),
    privileged: fc.constantFrom(false, false, false, true),
  })
  .map(({ kind, id, count, ttl, subject, privileged }) =>
    operation(kind, id, kind === 'allocate' || kind === 'settle' ? count : 0, {
      ttlSeconds: (kind === 'extend' ? Math.abs(ttl) + 5 : kind === 'allocate' ? ttl : 0) * UNIT_SECONDS,
      subject,
      privileged,
    }),
  );

/** Small requests alone, so that many fit one node. */
const aSmallBatch = fc
  .uniqueArray(fc.constantFrom(...ids), { minLength: 4 })
  .chain((chosen) =>
    fc.tuple(...chosen.map((id) => fc.integer({ min: 1, max: 6 }).map((count) => operation('allocate', id, count)))),
  );

const aStep = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.array(anOperation, { minLength: 1, maxLength: 14 }).map((batch) => ({ batch: unique(batch) })),
  },
  { weight: 3, arbitrary: aSmallBatch.map((batch) => ({ batch })) },
  { weight: 1, arbitrary: fc.constantFrom('best' as const, 'largest' as const).map((strategy) => ({ strategy })) },
  { weight: 1, arbitrary: fc.constantFrom('a', 'b', 'c', 'd').map((toggle) => ({ toggle })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.integer({ min: 1, max: 200 }))
      .map((resize) => ({ resize })),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }).map((units) => ({ seconds: units * UNIT_SECONDS })) },
);
type Step = typeof aStep extends fc.Arbitrary<infer T> ? T : never;

/** The first operation on each request id: the queue above never sends two. */
function unique(batch: Operation[]): Operation[] {
  return batch.filter((one, index) => batch.findIndex(({ requestId }) => requestId === one.requestId) === index);
}

describe('apply_batch against a model', () => {
  let database: BudgetDatabase;
  let executor: PostgresExecutor;

  beforeAll(async () => {
    database = await startBudgetDatabase({ nodes: { a: 1 }, largeRequestTokens: BigInt(THRESHOLD) });
    executor = database.executor(1000);
  });
  afterAll(() => database.stop());

  async function reset(bounds?: ModelBounds): Promise<Model> {
    await database.pool.query(`
      truncate nodes, allocations, leases, ledger, callers;
      update settings set strategy = 1, caller_tokens_max = ${bounds?.tokens ?? 0}, caller_requests_max = ${bounds?.requests ?? 0};
      insert into nodes (node_id, capacity) values ('a', 100), ('b', 100), ('c', 150), ('d', 40)`);
    const model = new Model(THRESHOLD, bounds);
    for (const [id, capacity] of Object.entries({ a: 100, b: 100, c: 150, d: 40 })) {
      model.nodes.set(id, { capacity, used: 0, draining: false });
    }
    return model;
  }

  async function take(step: Step, model: Model): Promise<void> {
    if ('batch' in step) {
      const expected = model.apply(step.batch);
      const { outcomes } = await executor.apply(step.batch, false);
      expect(outcomes.map(simple)).toEqual(expected.map(simpleModel));
    } else if ('strategy' in step) {
      model.strategy = step.strategy;
      await database.pool.query('update settings set strategy = $1', [step.strategy === 'best' ? 1 : 2]);
    } else if ('toggle' in step) {
      const node = model.nodes.get(step.toggle) as ModelNode;
      node.draining = !node.draining;
      await database.pool.query('update nodes set state = 3 - state where node_id = $1', [step.toggle]);
    } else if ('resize' in step) {
      const [id, capacity] = step.resize;
      (model.nodes.get(id) as ModelNode).capacity = capacity;
      await database.pool.query('update nodes set capacity = $2 where node_id = $1', step.resize);
    } else {
      // Time passes for the leases.
      model.now += step.seconds;
      const shift = `expires_at = expires_at - make_interval(secs => ${step.seconds})`;
      await database.pool.query(
        `update leases set ${shift}; update allocations set ${shift} where expires_at is not null`,
      );
    }
  }

  it.each([
    ['nobody is bounded', undefined, 120],
    ['callers are bounded', { tokens: 150, requests: 4 }, 60],
    ['tokens alone are bounded', { tokens: 90, requests: 0 }, 20],
  ] as const)(
    'agrees in every outcome, every balance, every lease and every entry of the ledger while %s',
    async (_, bounds, numRuns) => {
      await fc.assert(
        fc.asyncProperty(fc.array(aStep, { minLength: 1, maxLength: 25 }), async (steps) => {
          const model = await reset(bounds);
          for (const step of steps) {
            await take(step, model);
            await agree(database, model);
          }
        }),
        { numRuns, endOnFailure: false },
      );
    },
  );
});

async function agree({ pool }: BudgetDatabase, model: Model): Promise<void> {
  const { rows: nodes } = await pool.query(`
    select n.node_id, n.used::int,
        (select coalesce(sum(case a.state when 1 then a.token_count when 2 then a.settled else 0 end), 0)::int
           from allocations a where a.node_id = n.node_id) as live,
        (select coalesce(sum(l.delta), 0)::int from ledger l where l.node_id = n.node_id) as ledger
      from nodes n order by n.node_id`);
  expect(nodes).toEqual([...model.nodes].map(([id, { used }]) => ({ node_id: id, used, live: used, ledger: used })));
  const { rows: leases } = await pool.query(`select request_id from leases order by request_id`);
  const leased = [...model.allocations].filter(([, { state, expires }]) => state === 1 && expires !== undefined);
  if (model.bounds.tokens + model.bounds.requests > 0) {
    const { rows } = await pool.query(
      `select subject, tokens::int, requests::int from callers where tokens <> 0 or requests <> 0 order by subject`,
    );
    const held = ['alice', 'bob'].map((subject) => ({ subject, ...model.held(subject) }));
    expect(rows).toEqual(held.filter(({ tokens, requests }) => tokens > 0 || requests > 0));
  }
  expect(leases.map((row: { request_id: string }) => row.request_id)).toEqual(leased.map(([id]) => id).toSorted());
}

function simple(outcome: Outcome): object {
  if (outcome.result === 'exhausted') return { result: outcome.result, largest: Number(outcome.largestRemaining) };
  if (outcome.result === 'too many tokens') {
    return { result: outcome.result, largest: Number(outcome.callerRemaining) };
  }
  if (!('allocation' in outcome)) return { result: outcome.result };
  const { nodeId, tokenCount, settled, state, strategy, expiresUs } = outcome.allocation;
  const leased = state === states.allocated && expiresUs !== undefined;
  return {
    result: outcome.result,
    node: nodeId,
    count: Number(tokenCount),
    settled: Number(settled),
    state,
    strategy,
    leased,
  };
}

function simpleModel({ result, allocation, largest }: ModelOutcome): object {
  if (largest !== undefined) return { result, largest };
  if (!allocation) return { result };
  const { node, count, settled, state, strategy, expires }: ModelAllocation = allocation;
  return { result, node, count, settled, state, strategy, leased: state === 1 && expires !== undefined };
}
