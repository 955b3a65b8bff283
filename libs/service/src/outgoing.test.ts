import { callerSecretFor, gatewaySecretFor } from '@sluice/config';
import { newTraceContext, parseTraceparent } from '@sluice/telemetry';
import { expect, it } from 'vitest';
import type { Call } from './call.js';
import { originReader } from './caller.js';
import { outgoingMetadata } from './outgoing.js';

const caller = {
  subject: 'u1',
  tenant: 't1',
  session: 's1',
  roles: ['a', 'b'],
  scope: 'x y',
  guest: true,
  account: 'acc_7',
  unverified: true as const,
  key: 'k1',
  models: ['small', 'large'],
};
const ofAllocator = 'a secret of some length';
const ofPostcard = callerSecretFor('postcard', ofAllocator);
const call: Call = {
  caller,
  tenant: 't1',
  clientAddress: '192.0.2.7',
  service: '',
  path: '/a.B/C',
  deadline: undefined,
  signal: new AbortController().signal,
  trace: newTraceContext(undefined),
};

it('says the same caller to the next service as the gateway said to this one', () => {
  const metadata = outgoingMetadata(call, 'postcard', ofPostcard);
  expect(originReader(ofAllocator, false)(metadata, '')).toEqual({
    caller: { ...caller, roles: [] },
    tenant: 't1',
    clientAddress: '192.0.2.7',
    service: 'postcard',
  });
  expect(parseTraceparent(String(metadata.get('traceparent')[0]))?.traceId).toBe(call.trace.traceId);
});

it('says no caller where there is none, and is not believed without the secret', () => {
  const nobody = outgoingMetadata({ ...call, caller: undefined }, 'postcard', ofPostcard);
  expect(originReader(ofAllocator, false)(nobody, '')).toMatchObject({ caller: undefined, tenant: 't1' });
  expect(
    originReader('another secret', false)(outgoingMetadata(call, 'postcard', undefined), '').caller,
  ).toBeUndefined();
});

it('takes no roles from a service, whatever it says', () => {
  const metadata = outgoingMetadata(call, 'postcard', ofPostcard);
  metadata.set('x-sluice-roles', 'admin,service');
  expect(originReader(ofAllocator, false)(metadata, '').caller?.roles).toEqual([]);
});

it.each([
  ['leaves its name out', '', ofPostcard],
  ['takes the name of another', 'greeter', ofPostcard],
  ['shows the secret by which the gateway speaks to it', 'postcard', 'what postcard was given'],
  ['shows that one as the gateway', '', 'what postcard was given'],
  ['shows none', 'postcard', undefined],
])('does not believe a service that %s', (_, name, secret) => {
  const metadata = outgoingMetadata(call, name, secret);
  if (name === '') metadata.remove('x-sluice-service');
  metadata.set('x-sluice-roles', 'admin');
  const origin = originReader(ofAllocator, false)(metadata, '192.0.2.9:41');
  expect(origin).toEqual({ caller: undefined, tenant: '', clientAddress: '192.0.2.9', service: '' });
});

it('believes the gateway all that it says', () => {
  const metadata = outgoingMetadata(call, '', ofAllocator);
  metadata.remove('x-sluice-service');
  metadata.set('x-sluice-roles', 'a,b');
  const origin = originReader(ofAllocator, false)(metadata, '');
  expect(origin).toEqual({ caller, tenant: 't1', clientAddress: '192.0.2.7', service: '' });
});

it('does not believe what the gateway says to another service', () => {
  const metadata = outgoingMetadata(call, '', gatewaySecretFor('user', 'the root of all secrets'));
  metadata.remove('x-sluice-service');
  const allocator = originReader(gatewaySecretFor('allocator', 'the root of all secrets'), false);
  expect(allocator(metadata, '').caller).toBeUndefined();
});

it.each([
  ['192.0.2.9:41', '192.0.2.9'],
  ['::ffff:192.0.2.9:41', '192.0.2.9'],
  ['2001:db8::1:41', '2001:db8::1'],
  ['[2001:db8::1]:41', '2001:db8::1'],
])('counts who calls without the gateway by the address %s', (peer, address) => {
  const metadata = outgoingMetadata(call, 'postcard', undefined);
  const origin = originReader(ofAllocator, false)(metadata, peer);
  expect(origin).toEqual({ caller: undefined, tenant: '', clientAddress: address, service: '' });
});
