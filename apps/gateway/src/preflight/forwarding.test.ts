import { describe, expect, it } from 'vitest';
import { trustedProxies } from './address.js';
import { type Forwarding, type ForwardingFields, readForwarding } from './forwarding.js';

const trusted = trustedProxies(['10.0.0.0/8', '::1']);
const PROXY = '10.0.0.1';
const CLIENT = '192.0.2.7';
const read = (fields: Partial<ForwardingFields>, peer = PROXY): Forwarding =>
  readForwarding(peer, { for: '', proto: '', host: '', forwarded: '', ...fields }, trusted);

describe('X-Forwarded-*', () => {
  it.each<[string, Partial<ForwardingFields>, Partial<Forwarding>]>([
    ['the scheme in any case', { for: CLIENT, proto: 'HTTPS' }, { clientAddress: CLIENT, scheme: 'https' }],
    ['a list of schemes: the first is the client’s', { for: CLIENT, proto: 'https, http' }, { scheme: 'https' }],
    ['a scheme for each hop', { for: `1.1.1.1, ${CLIENT}, 10.0.0.2`, proto: 'http, https, http' }, { scheme: 'https' }],
    ['a scheme without an address', { proto: 'https' }, { clientAddress: PROXY, scheme: 'https' }],
    ['another scheme', { for: CLIENT, proto: 'wss' }, { scheme: undefined }],
    ['a host', { for: CLIENT, host: 'api.example:8443' }, { host: 'api.example:8443' }],
    ['a list of hosts', { for: CLIENT, host: 'api.example, inner.example' }, { host: 'api.example' }],
    ['addresses that a client made up', { for: `1.2.3.4, ${CLIENT}` }, { clientAddress: CLIENT }],
    ['no address at the end', { for: `${CLIENT}, unknown`, proto: 'https' }, { clientAddress: PROXY, scheme: 'https' }],
  ])('%s', (_, fields, expected) => {
    expect(read(fields)).toMatchObject(expected);
  });

  it('of a peer that is not trusted do not count', () => {
    const all = { for: '1.1.1.1', proto: 'https', host: 'a', forwarded: 'for=1.1.1.1;proto=https' };
    expect(read(all, CLIENT)).toEqual({ clientAddress: CLIENT, scheme: undefined, host: undefined });
  });

  it('count when the socket says the proxy’s address as IPv6', () => {
    expect(read({ for: CLIENT, proto: 'https' }, '::ffff:10.0.0.1')).toMatchObject({
      clientAddress: CLIENT,
      scheme: 'https',
    });
  });
});

describe('Forwarded (RFC 7239)', () => {
  it.each<[string, Partial<Forwarding>]>([
    [`for=${CLIENT}`, { clientAddress: CLIENT }],
    [
      `For=${CLIENT};Proto=HTTPS;Host=api.example;by=10.0.0.1`,
      { clientAddress: CLIENT, scheme: 'https', host: 'api.example' },
    ],
    [`for="${CLIENT}:4711" ; host="api.example:8443"`, { clientAddress: CLIENT, host: 'api.example:8443' }],
    ['for="[2001:db8:cafe::17]:4711"', { clientAddress: '2001:db8:cafe::17' }],
    ['for="[2001:db8:cafe::17]"', { clientAddress: '2001:db8:cafe::17' }],
    [
      `for=1.1.1.1;proto=http, for=${CLIENT};proto=https,for=10.0.0.2;proto=http`,
      { clientAddress: CLIENT, scheme: 'https' },
    ],
    [`for=1.1.1.1, for=_hidden;proto=https`, { clientAddress: PROXY, scheme: 'https' }],
    [`for=1.1.1.1, for=unknown`, { clientAddress: PROXY }],
    ['for="1.1.1.1\\"", proto=https', { clientAddress: PROXY, scheme: 'https' }],
    [`for="1.1.1.1, for=${CLIENT}`, { clientAddress: CLIENT }],
    [`;;for=${CLIENT};`, { clientAddress: CLIENT }],
    ['for=1.1.1.1, "', { clientAddress: PROXY }],
    ['', { clientAddress: PROXY }],
  ])('%s', (forwarded, expected) => {
    expect(read({ forwarded })).toMatchObject(expected);
  });

  it('does not count beside X-Forwarded-For, which its proxy wrote', () => {
    const fields = { for: CLIENT, forwarded: 'for=1.1.1.1;proto=https;host=evil' };
    expect(read(fields)).toEqual({ clientAddress: CLIENT, scheme: undefined, host: undefined });
  });

  it('is read in time that grows with its length', () => {
    const began = performance.now();
    for (const piece of ['for="\\', 'for=', '" \t', ';', ',']) read({ forwarded: piece.repeat(30_000 / piece.length) });
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
