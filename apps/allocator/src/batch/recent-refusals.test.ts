import { describe, expect, it } from 'vitest';
import { type LimitRefusal, type Operation, type Outcome, referenceOf } from './operation.js';
import { RecentRefusals } from './recent-refusals.js';

const operation = (requestId: string, tokenCount: string, more: Partial<Operation> = {}): Operation => ({
  kind: 'allocate',
  tenant: 't',
  requestId,
  subject: 's',
  privileged: false,
  tokenCount,
  ttlSeconds: 0,
  reference: referenceOf('', '', false),
  ...more,
});
const refusal = (more: Partial<LimitRefusal> = {}): LimitRefusal => ({
  account: '',
  accountId: 'acc_1',
  limitId: 'lim_2',
  unit: 'tokens',
  period: 'minute',
  hard: true,
  used: '95',
  ceiling: '100',
  softPercent: 80,
  endsUs: 60_000_000n,
  remaining: '5',
  asked: '6',
  atUs: 0n,
  ...more,
});
const limited = (more: Partial<LimitRefusal> = {}): Outcome => ({ result: 'limited', refusal: refusal(more) });

function start() {
  let now = 0;
  const refusals = new RecentRefusals(() => now);
  return { refusals, pass: (ms: number) => (now += ms) };
}

describe('refusals that are kept', () => {
  it('answer whoever asks for more than is left, for a tenth of a second', () => {
    const { refusals, pass } = start();
    refusals.keep(operation('a', '6'), limited());
    expect(refusals.of(operation('b', '7'))).toMatchObject({
      result: 'limited',
      refusal: { asked: '7', limitId: 'lim_2' },
    });
    expect(refusals.of(operation('c', '5'))).toBeUndefined();
    expect(refusals.of(operation('d', '7', { tenant: 'other' }))).toBeUndefined();
    expect(refusals.of(operation('e', '7', { reference: referenceOf('x', '', false) }))).toBeUndefined();
    expect(refusals.of(operation('f', '7', { kind: 'settle' }))).toBeUndefined();
    pass(99);
    expect(refusals.of(operation('g', '7'))).toBeDefined();
    pass(1);
    expect(refusals.of(operation('h', '7'))).toBeUndefined();
  });

  it('never outlive the period, and do not renew themselves', () => {
    const { refusals, pass } = start();
    refusals.keep(operation('a', '6'), limited({ endsUs: 30_000n }));
    for (let ms = 0; ms < 29; ms++) {
      pass(1);
      const again = refusals.of(operation('b', '6')) as Outcome;
      expect(again).toBeDefined();
      refusals.keep(operation('b', '6'), again);
    }
    pass(1);
    expect(refusals.of(operation('b', '6'))).toBeUndefined();
  });

  it('are no answer to a request that was granted', () => {
    const { refusals } = start();
    const granted = operation('a', '50');
    refusals.keep(granted, { result: 'done', allocation: { accountId: 'acc_1' } } as Outcome);
    refusals.keep(operation('b', '6'), limited());
    expect(refusals.of(granted)).toBeUndefined();
    expect(refusals.of(operation('c', '50'))).toBeDefined();
  });

  it('count money and requests in their unit', () => {
    const { refusals } = start();
    refusals.keep(operation('a', '1', { cost: '9' }), limited({ unit: 'micro_usd', remaining: '8' }));
    expect(refusals.of(operation('b', '1000', { cost: '8' }))).toBeUndefined();
    expect(refusals.of(operation('b', '1', { cost: '9' }))).toBeDefined();
  });

  it('are bounded in number', () => {
    const { refusals } = start();
    for (let tenant = 0; tenant <= 10_000; tenant++)
      refusals.keep(operation('a', '6', { tenant: `t${tenant}` }), limited());
    expect(refusals.of(operation('b', '6', { tenant: 't0' }))).toBeUndefined();
    expect(refusals.of(operation('b', '6', { tenant: 't1' }))).toBeDefined();
  });
});
