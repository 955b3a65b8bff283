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
  expect(originReader('a secret of some length', false)(metadata, '')).toEqual({
    caller: { ...caller, roles: [] },
    clientAddress: '192.0.2.7',
    service: 'postcard',
  });
  expect(parseTraceparent(String(metadata.get('traceparent')[0]))?.traceId).toBe(call.trace.traceId);
});

it('says no caller where there is none, and is not believed without the secret', () => {
  const nobody = outgoingMetadata({ ...call, caller: undefined }, 'postcard', 'a secret of some length');
  expect(originReader('a secret of some length', false)(nobody, '').caller).toBeUndefined();
  expect(
    originReader('another secret', false)(outgoingMetadata(call, 'postcard', undefined), '').caller,
  ).toBeUndefined();
});

it('takes no roles from a service, whatever it says', () => {
  const metadata = outgoingMetadata(call, 'postcard', 'a secret of some length');
  metadata.set('x-sluice-roles', 'admin,service');
  expect(originReader('a secret of some length', false)(metadata, '').caller?.roles).toEqual([]);
});

it.each([
  ['192.0.2.9:41', '192.0.2.9'],
  ['::ffff:192.0.2.9:41', '192.0.2.9'],
  ['2001:db8::1:41', '2001:db8::1'],
  ['[2001:db8::1]:41', '2001:db8::1'],
])('counts who calls without the gateway by the address %s', (peer, address) => {
  const metadata = outgoingMetadata(call, 'postcard', undefined);
  const origin = originReader('a secret of some length', false)(metadata, peer);
  expect(origin).toEqual({ caller: undefined, clientAddress: address, service: '' });
});
