import { DeadlineError } from '@sluice/storage';
import { Problem } from '@sluice/problem';
import { describe, expect, it } from 'vitest';
import { BatchFailure, type BatchExecutor, type BatchResult } from './batch-executor.js';
import { GroupCommit, type GroupCommitLimits, type Patience } from './group-commit.js';
import type { Operation, Outcome } from './operation.js';

const limits: GroupCommitLimits = { batchMax: 4, waitingMax: 100, queueMsMax: 60_000, overlapMin: 1000 };
const forever: Patience = { deadline: undefined, signal: undefined };
const done = (requestId: string): Outcome => ({
  result: 'done',
  allocation: {
    requestId,
    nodeId: 'n',
    tokenCount: '1',
    settled: '0',
    state: 1,
    strategy: 'best',
    expiresUs: undefined,
    createdUs: 0n,
  },
});

function operation(requestId: string, more: Partial<Operation> = {}): Operation {
  return {
    kind: 'allocate',
    tenant: 't',
    requestId,
    subject: 's',
    privileged: false,
    tokenCount: '1',
    ttlSeconds: 0,
    ...more,
  };
}

/** A connection whose batches end when and how the test says. */
class ManualExecutor implements BatchExecutor {
  readonly batches: { ids: string[]; wait: boolean; end: (how?: BatchFailure | Outcome[]) => void }[] = [];
  private arrived: (() => void) | undefined;
  closed = false;

  apply(operations: readonly Operation[], wait: boolean): Promise<BatchResult> {
    return new Promise((resolve, reject) => {
      const ids = operations.map(({ requestId }) => requestId);
      const end = (how: BatchFailure | Outcome[] = ids.map(done)) =>
        how instanceof BatchFailure ? reject(how) : resolve({ outcomes: how, moreDue: false });
      this.batches.push({ ids, wait, end });
      this.arrived?.();
    });
  }

  /** The batch of this number, as soon as it was sent. */
  async batch(number: number) {
    while (this.batches.length <= number) await new Promise<void>((resolve) => (this.arrived = resolve));
    return this.batches[number]!;
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

function start(more: Partial<GroupCommitLimits> = {}, clock?: () => number, twoConnections = false) {
  const executor = new ManualExecutor();
  // Most tests do not care which connection it is.
  const patient = twoConnections ? new ManualExecutor() : executor;
  const events = { batch: () => undefined, failed: () => undefined, refused: () => undefined };
  const groupCommit = new GroupCommit({ prompt: executor, patient }, { ...limits, ...more }, events, clock);
  const submit = (id: string, of: Partial<Operation> = {}, patience = forever) =>
    groupCommit.submit(operation(id, of), patience);
  return { executor, patient, groupCommit, submit };
}

describe('GroupCommit', () => {
  it('makes the next batch of what arrives while one commits, and answers nobody before', async () => {
    const { executor, submit } = start();
    const first = submit('a');
    const { end } = await executor.batch(0);
    const answered: string[] = [];
    const others = ['b', 'c', 'd', 'e', 'f'].map((id) => submit(id).then(() => answered.push(id)));
    end();
    await first;
    expect((await executor.batch(1)).ids).toEqual(['b', 'c', 'd', 'e']);
    expect(answered).toEqual([]);
    executor.batches[1]!.end();
    (await executor.batch(2)).end();
    await Promise.all(others);
    expect(executor.batches.map(({ ids }) => ids)).toEqual([['a'], ['b', 'c', 'd', 'e'], ['f']]);
  });

  it('executes the same request once, and keeps the order of different ones on one allocation', async () => {
    const { executor, submit } = start();
    const same = [submit('a'), submit('a'), submit('a')];
    const free = submit('a', { kind: 'free' });
    const other = submit('a', { tokenCount: '2' });
    const joined = submit('a', { tokenCount: '2' });
    (await executor.batch(0)).end();
    await Promise.all(same);
    (await executor.batch(1)).end();
    await free;
    (await executor.batch(2)).end();
    expect(await joined).toBe(await other);
    expect(executor.batches).toHaveLength(3);
  });

  it('never joins an extension that was sent already', async () => {
    const { executor, submit } = start();
    const extend = { kind: 'extend', ttlSeconds: 5 } as const;
    const first = submit('a', extend);
    const { end } = await executor.batch(0);
    const second = submit('a', extend);
    end();
    await first;
    (await executor.batch(1)).end();
    await second;
  });

  it('splits a batch that Postgres refuses until one operation is to blame', async () => {
    const { executor, submit } = start();
    const results = Promise.allSettled(['a', 'bad', 'c', 'd'].map((id) => submit(id)));
    for (let number = 0; number < 5; number++) {
      const { ids, end } = await executor.batch(number);
      end(ids.includes('bad') ? new BatchFailure('refused', 'no') : undefined);
    }
    const settled = await results;
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(settled[1]).toMatchObject({ reason: { code: 'INTERNAL' } });
    expect(executor.batches.map(({ ids }) => ids.join())).toEqual(['a,bad,c,d', 'a,bad', 'a', 'bad', 'c,d']);
  });

  it('repeats what was rolled back, waiting', async () => {
    const { executor, submit } = start();
    const answer = submit('a');
    (await executor.batch(0)).end(new BatchFailure('rolled back', 'deadlock'));
    const again = await executor.batch(1);
    expect(again.wait).toBe(true);
    again.end();
    expect(await answer).toEqual(done('a'));
  });

  it('repeats after a lost connection, but not what would be recorded twice', async () => {
    const { executor, submit } = start();
    const allocate = submit('a');
    const extend = submit('b', { kind: 'extend', ttlSeconds: 5 });
    (await executor.batch(0)).end(new BatchFailure('unknown', 'reset'));
    await expect(extend).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const again = await executor.batch(1);
    expect(again.ids).toEqual(['a']);
    again.end();
    expect(await allocate).toEqual(done('a'));
  });

  it('waits for locked nodes on one connection while the other goes on', async () => {
    const { executor, patient, submit } = start({}, undefined, true);
    const blocked = submit('a');
    (await executor.batch(0)).end([{ result: 'again' }]);
    const waiting = await patient.batch(0);
    expect(waiting).toMatchObject({ ids: ['a'], wait: true });
    const other = submit('b');
    const going = await executor.batch(1);
    expect(going).toMatchObject({ ids: ['b'], wait: false });
    going.end();
    await other;
    waiting.end();
    expect(await blocked).toEqual(done('a'));
  });

  it('drops what is too late before it is sent', async () => {
    let now = 0;
    const { executor, submit } = start({}, () => now);
    const first = submit('a');
    const { end } = await executor.batch(0);
    const late = expect(submit('b', {}, { deadline: 50, signal: undefined })).rejects.toBeInstanceOf(DeadlineError);
    const gone = new AbortController();
    const left = expect(submit('c', {}, { deadline: undefined, signal: gone.signal })).rejects.toBeInstanceOf(
      DeadlineError,
    );
    const fine = submit('d');
    now = 50;
    gone.abort();
    end();
    await Promise.all([first, late, left]);
    const next = await executor.batch(1);
    expect(next.ids).toEqual(['d']);
    next.end();
    await fine;
  });

  it('answers a caller whose time is over while the batch is under way, and forgets nothing', async () => {
    let now = 0;
    const { executor, submit } = start({}, () => now);
    const late = submit('a', {}, { deadline: 10, signal: undefined });
    const { end } = await executor.batch(0);
    now = 10;
    await expect(late).rejects.toBeInstanceOf(DeadlineError);
    const retry = submit('a');
    end();
    expect(await retry).toEqual(done('a'));
    expect(executor.batches).toHaveLength(1);
  });

  it('refuses beyond its bounds with the time to come back', async () => {
    let now = 0;
    const { executor, submit } = start({ waitingMax: 2, queueMsMax: 1000 }, () => now);
    const first = submit('a');
    await executor.batch(0);
    const second = submit('b');
    const refused = await submit('c').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Problem);
    expect(refused).toMatchObject({ code: 'OVERLOADED', details: { retry_after_ms: 250 } });
    now = 1001;
    await expect(second).rejects.toMatchObject({ code: 'OVERLOADED' });
    executor.batches[0]!.end();
    expect(await first).toEqual(done('a'));
  });

  it('keeps two batches under way when there is enough for both', async () => {
    const { executor, submit } = start({ overlapMin: 2 });
    const answers = Promise.all(['a', 'b', 'c', 'd'].map((id) => submit(id)));
    expect((await executor.batch(0)).ids).toEqual(['a', 'b']);
    expect((await executor.batch(1)).ids).toEqual(['c', 'd']);
    const few = submit('e');
    executor.batches[0]!.end();
    // One is too few for a second batch, so it waits for more, or for the first to end.
    const enough = submit('f');
    expect((await executor.batch(2)).ids).toEqual(['e', 'f']);
    executor.batches[1]!.end();
    executor.batches[2]!.end();
    await Promise.all([answers, few, enough]);
    expect(executor.batches).toHaveLength(3);
  });

  it('closes when everything that was submitted is answered', async () => {
    const { executor, groupCommit, submit } = start();
    const answer = submit('a');
    const closing = groupCommit.close();
    await expect(submit('b')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const { end } = await executor.batch(0);
    expect(executor.closed).toBe(false);
    end();
    await answer;
    await closing;
    expect(executor.closed).toBe(true);
  });
});
