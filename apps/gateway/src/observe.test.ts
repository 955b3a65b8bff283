import { Problem } from '@sluice/problem';
import { type Logger, Registry } from '@sluice/telemetry';
import { beforeEach, expect, it } from 'vitest';
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
  const logger = { info: (line: Line) => lines.push(line) } as unknown as Logger;
  new AccessLog(logger, 1, new Registry()).ended(exchange, 'none', 1, 1);
  expect(lines).toMatchObject([
    { trace_id: 't', request_id: 'mine' },
    { trace_id: 't', request_id: 'mine' },
  ]);
});
