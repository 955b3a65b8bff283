import { expect, it } from 'vitest';
import { currentTrace, formatTraceparent, newTraceContext, parseTraceparent, withTrace } from './index.js';

const valid = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

it('reads and writes a traceparent', () => {
  expect(formatTraceparent(parseTraceparent(valid)!)).toBe(valid);
  expect(parseTraceparent(`cc${valid.slice(2)}-what-the-future-brings`)?.sampled).toBe(true);
});

it.each([
  undefined,
  '',
  'ff' + valid.slice(2),
  valid + '-x',
  valid.toUpperCase(),
  '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
  'cc' + valid.slice(2) + '-' + 'x'.repeat(600),
])('takes %j for no trace', (value) => expect(parseTraceparent(value)).toBeUndefined());

it('keeps the trace and changes the span', () => {
  const parent = newTraceContext();
  const child = newTraceContext(parent);
  expect(child.traceId).toBe(parent.traceId);
  expect(child.spanId).not.toBe(parent.spanId);
  expect(new Set(Array.from({ length: 1000 }, () => newTraceContext().traceId)).size).toBe(1000);
});

it('follows asynchronous work', async () => {
  const trace = newTraceContext();
  await withTrace(trace, async () => {
    await Promise.resolve();
    expect(currentTrace()).toBe(trace);
  });
  expect(currentTrace()).toBeUndefined();
});
