import { Problem, type ProblemCode } from '@sluice/problem';
import { type Logger, Registry } from '@sluice/telemetry';
import { beforeEach, describe, expect, it } from 'vitest';
import { AccessLog } from './access-log.js';
import type { Exchange } from './exchange.js';
import { Observer } from './observe.js';

interface Line {
  readonly problem: string;
  readonly left_out?: number;
}

let lines: Line[];
let observer: Observer;
let now: number;
beforeEach(() => {
  now = 0;
  lines = [];
  const logger = { error: (line: Line) => lines.push(line) } as unknown as Logger;
  const nothing = () => undefined;
  observer = new Observer(logger, undefined, new Registry(), nothing, nothing, () => now);
});

function fail(code: 'UNAVAILABLE' | 'INTERNAL' | 'OVERLOADED', times: number): void {
  for (let left = times; left > 0; left--) observer.failed({ path: '/a' } as Exchange, new Problem(code));
}

it('writes a hundred failures of a kind in a second, and how many it left out with the next', () => {
  fail('UNAVAILABLE', 250);
  fail('INTERNAL', 1);
  expect(lines.filter(({ problem }) => problem === 'UNAVAILABLE')).toHaveLength(100);
  expect(lines.at(-1)).toMatchObject({ problem: 'INTERNAL', left_out: undefined });
  now += 1001;
  fail('UNAVAILABLE', 2);
  expect(lines.slice(-2)).toMatchObject([{ left_out: 150 }, { left_out: undefined }]);
});

it('writes nothing of what was shed: it is meant to be, and counted', () => {
  fail('OVERLOADED', 5);
  expect(lines).toEqual([]);
});

it('writes why keys could not be fetched', () => {
  observer.keysMissed(new Problem('UNAVAILABLE', '', { cause: 'no address can be reached' }));
  const error = new TypeError('fetch failed');
  observer.keysMissed(error);
  expect(lines).toEqual([{ cause: 'no address can be reached' }, { err: error }]);
});

it('writes what a service said of a failure, in full or nearly so, and errors as errors', () => {
  const fail = (cause: unknown) => observer.failed({ path: '/a' } as Exchange, new Problem('INTERNAL', '', { cause }));
  fail('db01 is gone');
  fail('x'.repeat(5000));
  const error = new Error('inside');
  fail(error);
  expect(lines).toMatchObject([{ cause: 'db01 is gone' }, { cause: 'x'.repeat(1000) }, { err: error }]);
  expect(lines[0]).not.toHaveProperty('err');
});

it('tells the request’s id beside the trace’s, of failures and in the access log', () => {
  const exchange = { path: '/a', requestId: 'mine', trace: { traceId: 't' }, transport: {}, work: {} } as Exchange;
  observer.failed(exchange, new Problem('INTERNAL'));
  const logger = { info: (line: Line) => lines.push(line), isLevelEnabled: () => true } as unknown as Logger;
  new AccessLog(logger, 1, new Registry()).ended(exchange, 'none', 1, 1);
  expect(lines).toMatchObject([
    { trace_id: 't', request_id: 'mine' },
    { trace_id: 't', request_id: 'mine' },
  ]);
});

describe('the access log', () => {
  /** The levels of the lines that are written of such calls, and of what is told of those that were left out. */
  function levels(enabled: readonly string[], codes: readonly (ProblemCode | undefined)[]): string[] {
    const written: string[] = [];
    const logger = Object.fromEntries(
      ['info', 'warn'].map((level) => [level, (line: Line) => written.push(`${level} ${line.problem ?? 'none'}`)]),
    );
    const log = new AccessLog(
      { ...logger, isLevelEnabled: (level: string) => enabled.includes(level) } as unknown as Logger,
      1,
      new Registry(),
    );
    for (const code of codes) {
      const problem = code && new Problem(code);
      const exchange = { path: '/a', transport: {}, work: problem ? undefined : {}, status: problem?.status ?? 200 };
      log.ended({ ...exchange, problem } as unknown as Exchange, 'none', 1, 1);
    }
    log.flush();
    return written;
  }

  it('warns of calls that a limit or a budget refused, and of those left out', () => {
    const codes = [
      'RATE_LIMIT_EXCEEDED',
      'RATE_LIMIT_EXCEEDED',
      'BUDGET_EXHAUSTED',
      'TOKEN_EXPIRED',
      undefined,
    ] as const;
    expect(levels(['info', 'warn'], codes)).toEqual([
      'warn RATE_LIMIT_EXCEEDED',
      'warn BUDGET_EXHAUSTED',
      'info TOKEN_EXPIRED',
      'info none',
      'warn RATE_LIMIT_EXCEEDED',
    ]);
  });

  it('has the warnings alone where nothing less is written', () => {
    expect(levels(['warn'], ['RATE_LIMIT_EXCEEDED', 'TOKEN_EXPIRED', undefined])).toEqual(['warn RATE_LIMIT_EXCEEDED']);
  });
});
