import { describe, expect, it } from 'vitest';
import { type TrustedProxies, trustedProxies } from './address.js';
import { readForwarding } from './forwarding.js';
import { preflight, type RawRequest } from './preflight.js';
import { parseGrpcTimeout, parseRequestTimeout } from './request-timeout.js';

const rules = {
  trusted: trustedProxies(['10.0.0.0/8', '::1']),
  announced: () => false,
  tenants: { header: 'x-tenant-id', hosts: undefined },
  apiKeys: false,
  fieldsMax: 20,
  hosts: undefined,
};
const pairs = (flat: string[]) =>
  flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1]!] as const] : []));
const request = (rawFields: string[], over: Partial<RawRequest> = {}): RawRequest => ({
  protocol: 'HTTP/1.1',
  scheme: 'http',
  authority: undefined,
  section: { fields: pairs(rawFields), meaning: undefined },
  peerAddress: '192.0.2.7',
  ...over,
});
const read = (rawFields: string[], over: Partial<RawRequest> = {}) => preflight(request(rawFields, over), rules);
const clientAddress = (peer: string, header: string, by: TrustedProxies) =>
  readForwarding(peer, { for: header, proto: '', host: '', forwarded: '' }, by).clientAddress;
const codeOf = (work: () => unknown) => {
  try {
    work();
    return 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('Authorization', () => {
  it.each<[string, string[], string]>([
    ['none', [], 'absent'],
    ['a token', ['Authorization', 'Bearer abc.def-_~+/='], 'bearer'],
    ['scheme in any case, several spaces', ['authorization', 'bEARER   abc'], 'bearer'],
    ['two in two cases', ['Authorization', 'Bearer a', 'AUTHORIZATION', 'Bearer a'], 'AUTHORIZATION_DUPLICATE'],
    ['two, one empty', ['authorization', '', 'authorization', 'Bearer a'], 'AUTHORIZATION_DUPLICATE'],
    ['empty', ['authorization', ''], 'AUTHORIZATION_MALFORMED'],
    ['no token', ['authorization', 'Bearer'], 'AUTHORIZATION_MALFORMED'],
    ['no token but a space', ['authorization', 'Bearer '], 'AUTHORIZATION_MALFORMED'],
    ['another scheme', ['authorization', 'Basic dXNlcjpwdw=='], 'AUTHORIZATION_MALFORMED'],
    ['two tokens in one value', ['authorization', 'Bearer a, Bearer b'], 'AUTHORIZATION_MALFORMED'],
    ['a tab inside', ['authorization', 'Bearer a\tb'], 'AUTHORIZATION_MALFORMED'],
  ])('%s', (_, fields, expected) => {
    const { authorization } = read(fields);
    expect(authorization.kind === 'faulty' ? authorization.problem.code : authorization.kind).toBe(expected);
  });
});

describe('fields', () => {
  it('keeps connection fields, forwarding fields and identity fields from upstreams', () => {
    const head = read([
      ...['Connection', 'keep-alive, X-Hop', 'X-Hop', '1', 'Transfer-Encoding', 'chunked', 'TE', 'trailers'],
      ...['X-Sluice-Subject', 'admin', 'x-forwarded-host', 'evil', 'Forwarded', 'for=1.1.1.1', 'X-Real-IP', '1.1.1.1'],
      ...['X-Custom', 'kept', 'x-custom', 'twice'],
    ]);
    expect(head.passable).toEqual([
      ['x-custom', 'kept'],
      ['x-custom', 'twice'],
    ]);
  });

  it.each<[string, string[], Partial<RawRequest>, string]>([
    ['two hosts', ['Host', 'a', 'host', 'a'], {}, 'MALFORMED_REQUEST'],
    ['host against :authority', ['host', 'a'], { protocol: 'HTTP/2', authority: 'b' }, 'AUTHORITY_MISMATCH'],
    ['host like :authority', ['host', 'EXAMPLE.org'], { protocol: 'HTTP/2', authority: 'example.ORG' }, 'none'],
    ['host against an absolute target', ['host', 'a'], { authority: 'b' }, 'none'],
    ['a host that is none', ['host', 'a/b'], {}, 'MALFORMED_REQUEST'],
    ['a user before the host', [], { authority: 'root@a' }, 'MALFORMED_REQUEST'],
    ['an absolute target without a host', ['host', 'a'], { authority: '' }, 'MALFORMED_REQUEST'],
    ['an IPv6 address', ['host', '[2001:db8::1]:8083'], {}, 'none'],
    ['two content types', ['content-type', 'a', 'content-type', 'b'], {}, 'MALFORMED_REQUEST'],
    ['NUL', ['x-a', 'a\u0000b'], {}, 'MALFORMED_REQUEST'],
    ['LF', ['x-a', 'a\nb'], {}, 'MALFORMED_REQUEST'],
    ['CR', ['authorization', 'Bearer a\rb'], {}, 'MALFORMED_REQUEST'],
    ['a name with a space', ['x a', 'b'], {}, 'MALFORMED_REQUEST'],
    ['too many', Array.from({ length: 42 }, (_, index) => `x-${index}`), {}, 'HEADERS_TOO_LARGE'],
    ['a bad timeout', ['x-request-timeout', 'soon'], {}, 'MALFORMED_REQUEST'],
  ])('%s', (_, fields, over, code) => expect(codeOf(() => read(fields, over))).toBe(code));

  it('joins cookies and takes the first of no two traces', () => {
    expect(read(['cookie', 'a=1', 'Cookie', 'b=2']).cookie).toBe('a=1; b=2');
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(read(['traceparent', trace]).trace?.traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
    expect(read(['traceparent', trace, 'traceparent', trace]).trace).toBeUndefined();
  });
});

describe('the address of the client', () => {
  const { trusted } = rules;
  it.each([
    ['192.0.2.7', '1.1.1.1', '192.0.2.7'],
    ['10.0.0.1', '1.1.1.1, 2.2.2.2, 10.9.9.9', '2.2.2.2'],
    ['::ffff:10.0.0.1', '2.2.2.2:4711', '2.2.2.2'],
    ['::1', '[2001:db8::1]:80', '2001:db8::1'],
    ['10.0.0.1', '2.2.2.2, garbage, 10.1.1.1', '10.1.1.1'],
    ['10.0.0.1', 'garbage', '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
  ])('peer %s with %j is %s', (peer, header, expected) => expect(clientAddress(peer, header, trusted)).toBe(expected));
});

it('reads timeouts', () => {
  expect(['1H', '2M', '3S', '4m', '5000u', '1n', '', '1', '123456789S', '-1S', '1.5S'].map(parseGrpcTimeout)).toEqual([
    ...[3_600_000, 120_000, 3000, 4, 5, 1],
    ...[undefined, undefined, undefined, undefined, undefined],
  ]);
  expect(['2', '2.5', '500ms', '5s', '1m', '', 'x', '-1', '1e3', '1h'].map(parseRequestTimeout)).toEqual([
    ...[2000, 2500, 500, 5000, 60_000],
    ...[undefined, undefined, undefined, undefined, undefined],
  ]);
});

describe('what was asked for', () => {
  const over: Partial<RawRequest> = { protocol: 'HTTP/2', writtenScheme: 'http', authority: 'a' };
  it.each<[string, string[], Partial<RawRequest>, string]>([
    ['a host', [], over, 'none'],
    ['https behind a proxy that ended TLS', [], { ...over, writtenScheme: 'HTTPS' }, 'none'],
    ['Host instead of :authority', ['host', 'a'], { ...over, authority: undefined }, 'none'],
    ['no authority at all', [], { ...over, authority: undefined }, 'MALFORMED_REQUEST'],
    ['an empty Host alone', ['host', ''], { ...over, authority: undefined }, 'MALFORMED_REQUEST'],
    ['the scheme ftp', [], { ...over, writtenScheme: 'ftp' }, 'MALFORMED_REQUEST'],
    ['the scheme httpsx', [], { ...over, writtenScheme: 'httpsx' }, 'MALFORMED_REQUEST'],
    ['no host over HTTP/1.0', [], {}, 'none'],
  ])('%s', (_, fields, request, code) => expect(codeOf(() => read(fields, request))).toBe(code));
});
