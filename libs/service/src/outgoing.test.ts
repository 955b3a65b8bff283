import { newTraceContext, parseTraceparent } from '@sluice/telemetry';
import { expect, it } from 'vitest';
import type { Call } from './call.js';
import { originReader } from './caller.js';
import { outgoingMetadata } from './outgoing.js';

const caller = { subject: 'u1', tenant: 't1', session: 's1', roles: ['a', 'b'], scope: 'x y', guest: true };
const call: Call = {
  caller,
  clientAddress: '192.0.2.7',
  service: '',
  path: '/a.B/C',
  deadline: undefined,
  signal: new AbortController().signal,
  trace: newTraceContext(undefined),
};

it('says the same caller to the next service as the gateway said to this one', () => {
  const metadata = outgoingMetadata(call, 'postcard', 'a secret of some length');
  expect(originReader('a secret of some length', false)(metadata)).toEqual({
    caller,
    clientAddress: '192.0.2.7',
    service: 'postcard',
  });
  expect(parseTraceparent(String(metadata.get('traceparent')[0]))?.traceId).toBe(call.trace.traceId);
});

it('says no caller where there is none, and is not believed without the secret', () => {
  const nobody = outgoingMetadata({ ...call, caller: undefined }, 'postcard', 'a secret of some length');
  expect(originReader('a secret of some length', false)(nobody).caller).toBeUndefined();
  expect(originReader('another secret', false)(outgoingMetadata(call, 'postcard', undefined)).caller).toBeUndefined();
});
