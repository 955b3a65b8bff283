import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { descriptorSetPath } from '@sluice/contract';
import { ConfigurationError } from '@sluice/config';
import { afterAll, describe, expect, it, test } from 'vitest';
import { echoDescriptorSet } from '../../testdata/echo-server.js';
import { routeList } from '../route-list.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice examine '));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What is said of a file, each fault as `line: key: message`. */
function faultsOf(yaml: string): string[] {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, yaml);
  try {
    routeList(file);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.faults.map((fault) => fault.replace(`${file}:`, '').replace(/^(\d+):\d+/, '$1'));
  }
}

interface Parts {
  readonly upstream?: string;
  readonly auth?: string;
  readonly rest?: string;
  readonly address?: string;
}

const jwt = "{ mode: jwt, typ: at+jwt, keys: { jwks_url: 'http://127.0.0.1:1/' } }";
/** A file that can work, with more in it. */
const fileWith = ({ upstream = '', auth = '{ mode: none }', rest = '', address = '127.0.0.1:1' }: Parts) => `upstreams:
  - name: echo
    address: ${address}
    descriptor_set: ${echoDescriptorSet}
    ${upstream}
auth: ${auth}
${rest}
`;
const policy = (more: string, upstream = '') => ({
  upstream,
  rest: `limits: { policies: [{ name: a, limit: 1, window: 1m, ${more} }] }`,
});
const match = (text: string, dimensions = '[ip]') => policy(`dimensions: ${dimensions}, match: { ${text} }`);
const service = 'echo.v1.EchoService';

describe('refused, since it can have no effect or names nothing', () => {
  it.each<[string, Parts, string]>([
    [
      'a method under access',
      { auth: jwt, upstream: `access: [{ selector: ${service}.Ecko, roles: [a] }]` },
      `5: upstreams.echo.access.0.selector: "${service}.Ecko": expected a method of upstream echo: package.Service.Method, package.Service.* or package.*; did you mean "${service}.Echo"?`,
    ],
    [
      'a service under access',
      { auth: jwt, upstream: 'access: [{ selector: echo.v1.EchoServce.*, roles: [a] }]' },
      `did you mean "${service}.*"?`,
    ],
    ['a service without its .*', { upstream: `timeouts: { ${service}: 1s }` }, `did you mean "${service}.*"?`],
    [
      'a gRPC path in place of a selector',
      { upstream: `timeouts: { /${service}/Echo: 1s }` },
      `did you mean "${service}.Echo"?`,
    ],
    [
      'a method under timeouts',
      { upstream: `timeouts: { ${service}.echo: 1s }` },
      `5: upstreams.echo.timeouts."${service}.echo": "${service}.echo": expected a method`,
    ],
    [
      'a method under max_body',
      { upstream: `max_body: { EchoService.Hang: 1KiB }` },
      `did you mean "${service}.Hang"?`,
    ],
    [
      'system parameters beside ignore_unknown_query',
      { upstream: 'ignore_unknown_query: true\n    system_parameters: [alt]' },
      '6: upstreams.echo.system_parameters: ["alt"]: expected none beside ignore_unknown_query: true',
    ],
    [
      'more memory for an address than for all',
      { rest: 'memory: { total: 8MiB, per_address: 9MiB }' },
      'no more than memory.total',
    ],
    [
      'more memory for a connection than for its address',
      { rest: 'memory: { per_address: 8MiB, per_connection: 9MiB }' },
      'no more than memory.per_address',
    ],
    ['hardly any memory', { rest: 'memory: { total: 64KiB }' }, '7: memory.total: 65536: expected 1MiB or more'],
    [
      'no address of a proxy',
      { rest: 'proxy_protocol: [10.0.0.0/33]' },
      'proxy_protocol.0: "10.0.0.0/33": expected an address or a block',
    ],
    [
      'a certificate of clients without whom it comes from',
      { rest: 'tls: { client_certificates: optional }' },
      'client_certificates has no effect without client_ca',
    ],
    ['a method under oauth', { upstream: 'oauth: [other.*]' }, '5: upstreams.echo.oauth.0: "other.*"'],
    [
      'a rule for no method',
      { upstream: `http: { rules: [{ selector: ${service}.Hangg, get: /x }] }` },
      `5: upstreams.echo.http.rules.0.selector: "${service}.Hangg": expected a method of upstream echo: package.Service.Method; did you mean "${service}.Hang"?`,
    ],
    [
      'a service',
      { upstream: 'services: [echo.v1.EchoServices]' },
      `5: upstreams.echo.services.0: "echo.v1.EchoServices": expected a service of ${echoDescriptorSet}; did you mean "${service}"?`,
    ],
    ['no service', { upstream: 'services: []' }, '5: upstreams.echo.services: []: expected a service with methods'],
    [
      'a selector twice',
      { auth: jwt, upstream: `access: [{ selector: '*', roles: [a] }, { selector: '*', roles: [b] }]` },
      '5: upstreams.echo.access.1.selector: "*": expected each selector once',
    ],
    [
      'roles without auth',
      { upstream: `access: [{ selector: '*', roles: [admin] }]` },
      '5: upstreams.echo.access.0.roles: ["admin"]: expected `auth`',
    ],
    [
      'no_guests without auth',
      { upstream: `access: [{ selector: '*', no_guests: true }]` },
      '5: upstreams.echo.access.0.no_guests: true: expected `auth`',
    ],
    [
      'ended_sessions without revocations',
      { auth: jwt, upstream: `access: [{ selector: '*', ended_sessions: true }]` },
      'expected `auth.revocations`',
    ],
    [
      'neither audience nor typ',
      { auth: "{ mode: jwt, keys: { jwks_url: 'http://127.0.0.1:1/' } }" },
      '6: auth: expected `audience` or `typ`',
    ],
    ['no keys', { auth: '{ mode: jwt, typ: x, issuer: acme }' }, '6: auth.keys: expected `jwks_url` or `upstream`'],
    [
      'keys of no upstream',
      { auth: '{ mode: jwt, typ: x, keys: { upstream: ecko } }' },
      'auth.keys.upstream: "ecko": expected the name of an upstream; did you mean "echo"?',
    ],
    [
      'keys of an upstream without them',
      { auth: '{ mode: jwt, typ: x, keys: { upstream: echo } }' },
      'expected an upstream whose descriptor set has sluice.user.v1.KeyService',
    ],
    [
      'revocations of an upstream without them',
      { auth: `${jwt.slice(0, -1)}, revocations: { upstream: echo } }` },
      'expected an upstream whose descriptor set has sluice.user.v1.RevocationService',
    ],
    [
      'an origin without a scheme',
      { rest: 'cors: { origins: [example.com] }' },
      '7: cors.origins.0: "example.com": expected an exact origin such as https://app.example.com or http://localhost:3000; did you mean "https://example.com"?',
    ],
    [
      'an origin with a slash',
      { rest: "cors: { origins: ['https://a.example/'] }" },
      'did you mean "https://a.example"?',
    ],
    [
      'an origin with its usual port',
      { rest: "cors: { origins: ['https://a.example:443'] }" },
      'did you mean "https://a.example"?',
    ],
    [
      'an origin in capitals',
      { rest: "cors: { origins: ['HTTPS://A.example'] }" },
      'did you mean "https://a.example"?',
    ],
    [
      'an origin with a path',
      { rest: "cors: { origins: ['https://a.example/x'] }" },
      'did you mean "https://a.example"?',
    ],
    [
      'an origin with a wildcard',
      { rest: "cors: { origins: ['https://*.example'] }" },
      '`*` stands alone or not at all',
    ],
    [
      'an origin beside *',
      { rest: "cors: { origins: ['*', 'https://a.example'] }" },
      '7: cors.origins.1: "https://a.example": expected either `*` or origins',
    ],
    ['null with credentials', { rest: "cors: { origins: ['null'], credentials: true }" }, 'any page could be `null`'],
    [
      'a method in small letters',
      { rest: "cors: { origins: ['*'], methods: [patch] }" },
      'cors.methods.0: "patch": expected capital letters',
    ],
    [
      'a field that no page can send',
      { rest: "cors: { origins: ['*'], request_headers: [cookie] }" },
      'cors.request_headers.0: "cookie": expected a field that a page can set',
    ],
    [
      'a field that no page sees',
      { rest: "cors: { origins: ['*'], response_headers: [set-cookie] }" },
      'cors.response_headers.0',
    ],
    [
      '* with credentials',
      { rest: "cors: { origins: ['https://a.example'], request_headers: ['*'], credentials: true }" },
      'with credentials `*` is no wildcard',
    ],
    [
      'a path without a slash',
      match('paths: [v1/metadata]'),
      '7: limits.policies.0.match.paths.0: "v1/metadata": expected a path that begins with a slash; did you mean "/v1/metadata"?',
    ],
    [
      'a path that nothing has',
      match('paths: [/v1/metadatas]'),
      'limits.policies.0.match.paths.0: "/v1/metadatas": expected the path of something that is served; did you mean "/v1/metadata"?',
    ],
    [
      'an exception that nothing has',
      match('except_paths: [/v2/**]'),
      'limits.policies.0.match.except_paths.0: "/v2/**"',
    ],
    ['a path with a variable', match("paths: ['/v1/echo/{name}']"), '`*` in place of a variable'],
    [
      'a method that nothing takes',
      match('methods: [GTE]'),
      'limits.policies.0.match.methods.0: "GTE": expected a method that is served',
    ],
    [
      'a path and a method that do not go together',
      match('paths: [/v1/metadata], methods: [POST]'),
      'expected a match that some call can meet',
    ],
    [
      'an exception from what is not matched',
      match(`rpcs: [${service}.Echo], except_rpcs: [${service}.Hang]`),
      'limits.policies.0.match.except_rpcs.0',
    ],
    [
      'everything excepted',
      match(`rpcs: [${service}.Echo], except_rpcs: [${service}.*]`),
      'expected a match that some call can meet',
    ],
    ['a selector of a limit', match('rpcs: [echo.v1.EchoService.Ecko]'), `did you mean "${service}.Echo"?`],
    ['no caller at all', match('callers: []'), 'limits.policies.0.match.callers: []: expected at least one'],
    ['a user without auth', match('', '[ip, user]'), '7: limits.policies.0.dimensions.1: "user": expected `auth`'],
    [
      'a tenant that nothing says',
      { rest: `${policy('dimensions: [tenant]').rest}\ntenants: { header: none }` },
      'limits.policies.0.dimensions.0: "tenant": expected `auth`, tenants.header or tenants.hosts',
    ],
    [
      'a host with a port among tenants',
      { rest: "tenants: { hosts: { 'https://Acme.example.com:443/': acme } }" },
      'tenants.hosts."https://Acme.example.com:443/": "https://Acme.example.com:443/": expected a host such as api.example.com, or *.example.com for all below it; did you mean "acme.example.com"?',
    ],
    [
      'a host of a tenant that is not served',
      { rest: 'hosts: [api.example.com]\ntenants: { hosts: { ape.example.com: acme } }' },
      'tenants.hosts."ape.example.com": "ape.example.com": expected a host that `hosts` has; did you mean "api.example.com"?',
    ],
    [
      'a tenant that no header can name',
      { rest: 'tenants: { hosts: { acme.example.com: a b } }' },
      'tenants.hosts."acme.example.com": "a b": expected 1 to 63 letters, digits, dots, dashes and underscores',
    ],
    [
      'a header for tenants that is the gateway’s own',
      { rest: 'tenants: { header: x-request-id }' },
      'tenants.header: "x-request-id": expected a field that means nothing else to the gateway',
    ],
    ['guests without auth', match('callers: [guest]'), 'limits.policies.0.match.callers.0: "guest": expected `auth`'],
    [
      'a user among the anonymous',
      { ...match('callers: [anonymous]', '[user]'), auth: jwt },
      'limits.policies.0.match.callers.0: "anonymous": expected callers that are known',
    ],
    [
      'the anonymous where all are known',
      { ...match('callers: [anonymous], rpcs: [echo.v1.*]'), auth: jwt },
      'expected a match that some call can meet',
    ],
    [
      'users of a public method',
      {
        ...match(`rpcs: [${service}.Echo]`, '[user]'),
        auth: jwt,
        upstream: `access: [{ selector: ${service}.Echo, public: true }]`,
      },
      'expected a match that some call can meet',
    ],
    [
      'a window of nothing',
      { rest: 'limits: { policies: [{ name: a, limit: 1, window: 0s, dimensions: [ip] }] }' },
      '7: limits.policies.0.window: "0s": expected a duration above zero',
    ],
    ['a cost above the limit', policy('dimensions: [ip], cost: 2'), 'limits.policies.0.cost'],
    ['a cost above the burst', policy('dimensions: [ip], burst: 3, cost: 4'), 'limits.policies.0.cost'],
    ['a dimension twice', policy('dimensions: [ip, ip]'), 'limits.policies.0.dimensions'],
    [
      'a guard of tokens without auth',
      { rest: 'limits: { guess_guard: { limit: 1, window: 1m } }' },
      '7: limits.guess_guard: expected `auth`',
    ],
    [
      'the name of the guard',
      {
        auth: jwt,
        rest: 'limits: { guess_guard: { limit: 1, window: 1m }, policies: [{ name: guess-guard, limit: 1, window: 1m, dimensions: [ip] }] }',
      },
      'limits.policies.0.name: "guess-guard": expected another name',
    ],
    [
      'a proxy that is no address',
      { rest: 'trusted_proxies: [10.0.0.0/33]' },
      '7: trusted_proxies.0: "10.0.0.0/33": expected an address or a block',
    ],
    ['a proxy of too few numbers', { rest: 'trusted_proxies: [10.0.0/8]' }, 'trusted_proxies.0'],
    ['a proxy that is a name', { rest: 'trusted_proxies: [proxy.example]' }, 'trusted_proxies.0'],
    ['a proxy with two prefixes', { rest: 'trusted_proxies: [10.0.0.0/8/1]' }, 'trusted_proxies.0'],
    ['a proxy with a negative prefix', { rest: 'trusted_proxies: [10.0.0.0/-1]' }, 'trusted_proxies.0'],
    ['a proxy with bits behind its prefix', { rest: 'trusted_proxies: [10.1.2.3/8]' }, 'did you mean "10.0.0.0/8"?'],
    [
      'an IPv6 proxy with bits behind its prefix',
      { rest: "trusted_proxies: ['2001:db8::1/32']" },
      'did you mean "2001:db8::/32"?',
    ],
    ['a mapped proxy', { rest: "trusted_proxies: ['::ffff:10.0.0.1']" }, 'expected an IPv4 address as such'],
    [
      'trust that is no name of a service',
      { upstream: 'trusted: yes' },
      '5: upstreams.0.trusted: "yes": expected true, false or the name of a service',
    ],
    [
      'trust that is a number',
      { upstream: 'trusted: 1' },
      '5: upstreams.0.trusted: 1: expected true, false or the name of a service',
    ],
    [
      'a field of the gateway',
      { upstream: 'request_headers: [x-sluice-subject]' },
      '5: upstreams.echo.request_headers.0: "x-sluice-subject": expected a field that the gateway neither sets itself nor keeps',
    ],
    ['a field of the connection', { upstream: 'request_headers: [Keep-Alive]' }, 'upstreams.echo.request_headers.0'],
    [
      'Authorization as a field',
      { upstream: 'request_headers: [authorization]' },
      'expected `forward_authorization: true`',
    ],
    ['metadata as a field', { upstream: 'request_headers: [grpc-metadata-x]' }, 'without the prefix'],
    ['a field of gRPC', { upstream: 'request_headers: [grpc-encoding]' }, 'upstreams.echo.request_headers.0'],
    [
      'an address without a port',
      { address: '127.0.0.1' },
      '3: upstreams.echo.address: "127.0.0.1": expected a port after the host, as in 127.0.0.1:50051',
    ],
    [
      'an address over TLS',
      { address: 'https://a.example:443' },
      '3: upstreams.echo.address: "https://a.example:443": expected grpc://a.example:443, and tls: true',
    ],
    ['a port too large', { address: 'a.example:99999' }, 'expected a port from 1 to 65535'],
    ['one of two addresses', { address: 'a.example:1,b.example' }, '"b.example" to be a port after the host'],
    ['an address twice', { address: 'a.example:1,grpc://a.example:1' }, 'each address once'],
    [
      'http:// with TLS',
      { address: 'http://a.example:1', upstream: 'tls: true' },
      'expected host:port: http:// is without TLS',
    ],
    [
      'more connections than calls',
      { upstream: 'connections: 8\n    max_concurrent: 4' },
      'upstreams.echo.connections: 8: expected no more',
    ],
    [
      'more streams of one address than of all',
      { upstream: 'streams: { max: 10, max_per_address: 20 }' },
      '5: upstreams.echo.streams.max_per_address: 20: expected no more than streams.max, 10',
    ],
    [
      'streams of a caller without auth',
      { upstream: 'streams: { max_per_caller: 5 }' },
      'upstreams.echo.streams.max_per_caller: 5: expected `auth`',
    ],
    [
      'a timeout of nothing',
      { upstream: 'timeout: 0s' },
      '5: upstreams.0.timeout: "0s": expected a duration above zero',
    ],
    ['a timeout that no timer can wait', { upstream: 'timeout: 1000h' }, 'at most 596h'],
    [
      'a file that is not there',
      { upstream: 'tls: { ca: none.pem }' },
      '5: upstreams.echo.tls.ca: "none.pem": expected a file that can be read',
    ],
    [
      'a file without certificates',
      { upstream: `tls: { ca: ${echoDescriptorSet} }` },
      'expected certificates in PEM form',
    ],
    [
      'a certificate without its key',
      { upstream: `tls: { cert: ${echoDescriptorSet} }` },
      'expected a `key` beside it',
    ],
  ])('%s', (_, parts, expected) => {
    const faults = faultsOf(fileWith(parts));
    expect(faults, faults.join('\n')).toHaveLength(1);
    expect(faults[0]).toContain(expected);
  });

  const user = (more = '') => `  - name: user
    address: 127.0.0.1:2
    descriptor_set: ${descriptorSetPath}
    services: [sluice.user.v1.KeyService]
    ${more}
`;
  const takingKeys = (more = 'revocations: { upstream: user }, ', apiKeys = 'upstream: user') =>
    jwt.replace('{ mode', `{ ${more}api_keys: { ${apiKeys} }, mode`);
  const withUser = (upstream: string, auth: string, rest = '', more = '') =>
    fileWith({ upstream: `${upstream}\n${user(more)}`, auth, rest });
  it.each<[string, string, string]>([
    [
      'the dimension key without api_keys',
      fileWith({ auth: jwt, ...policy('dimensions: [ip, key]') }),
      '7: limits.policies.0.dimensions.1: "key": expected `auth.api_keys`: without it nobody comes with a key',
    ],
    [
      'the dimension key for guests alone',
      withUser('', takingKeys(), policy('dimensions: [key], match: { callers: [guest] }').rest),
      'limits.policies.0.match.callers: ["guest"]: expected user among them',
    ],
    [
      'no_keys without api_keys',
      fileWith({ auth: jwt, upstream: "access: [{ selector: '*', no_keys: true }]" }),
      '5: upstreams.echo.access.0.no_keys: true: expected `auth.api_keys`: without it nobody comes with a key',
    ],
    [
      'api_keys without revocations',
      withUser('', takingKeys('')),
      'auth.api_keys: expected `auth.revocations` beside it: its stream tells of keys that were revoked',
    ],
    [
      'api_keys of no upstream',
      withUser('', takingKeys(undefined, 'upstream: users')),
      'auth.api_keys.upstream: "users": expected the name of an upstream; did you mean "user"?',
    ],
    [
      'api_keys of an upstream without them',
      withUser('', takingKeys(undefined, 'upstream: echo')),
      'auth.api_keys.upstream: "echo": expected an upstream whose descriptor set has sluice.machines.v1.ApiKeyVerificationService',
    ],
    [
      'a verdict on a key that serves for days',
      withUser('', takingKeys(undefined, 'upstream: user, max_age: 25h')),
      'expected a duration of at most 24h',
    ],
    [
      'no environment of keys',
      withUser('', takingKeys(undefined, 'upstream: user, environments: []')),
      'auth.api_keys.environments',
    ],
    [
      'x-api-key passed on beside api_keys',
      withUser('request_headers: [x-request-kind, x-api-key]', takingKeys()),
      '5: upstreams.echo.request_headers.1: "x-api-key": expected a field that is not kept: with `auth.api_keys`',
    ],
  ])('of API keys: %s', (_, yaml, expected) => {
    const faults = faultsOf(yaml);
    expect(faults, faults.join('\n')).toHaveLength(1);
    expect(faults[0]).toContain(expected);
  });

  it('nothing of API keys where they are taken, and x-api-key where they are not', () => {
    const rest = policy('dimensions: [key]').rest;
    expect(faultsOf(withUser("access: [{ selector: '*', no_keys: true }]", takingKeys(), rest))).toEqual([]);
    expect(faultsOf(fileWith({ upstream: 'request_headers: [x-api-key]' }))).toEqual([]);
  });

  it('times and forms of streams where nothing streams', () => {
    const yaml = `upstreams:
  - name: sessions
    address: 127.0.0.1:1
    descriptor_set: ${descriptorSetPath}
    services: [sluice.user.v1.KeyService]
    stream_timeout: none
    streams: { envelope: result }
`;
    expect(faultsOf(yaml)).toEqual([
      '6: upstreams.sessions.stream_timeout: "none": expected a method that streams: this upstream has none',
      '7: upstreams.sessions.streams.envelope: "result": expected a method that streams: this upstream has none with an HTTP rule',
    ]);
  });

  it('an annotation that asks for a role, without auth', () => {
    const yaml = `upstreams:
  - name: user
    address: 127.0.0.1:1
    descriptor_set: ${descriptorSetPath}
    services: [sluice.user.v1.AdminService]
`;
    expect(faultsOf(yaml)[0]).toMatch(
      /^4: upstreams\.user\.descriptor_set: sluice\.user\.v1\.AdminService\.\w+ is annotated to ask for the role/,
    );
    expect(faultsOf(`${yaml}    access: [{ selector: '*', public: true }]\n`)).toEqual([]);
  });
});

it.each<[string, Parts]>([
  [
    'selectors of every width',
    {
      auth: jwt,
      upstream: `access: [{ selector: '*', roles: [a] }, { selector: echo.*, roles: [a] }, { selector: ${service}.*, public: true }]`,
    },
  ],
  [
    'any audience, when that is meant',
    { auth: "{ mode: jwt, audience: any, keys: { jwks_url: 'http://127.0.0.1:1/' } }" },
  ],
  ['a public method without auth, which states what is', { upstream: `access: [{ selector: '*', public: true }]` }],
  [
    'origins of browsers and apps',
    {
      rest: "cors: { origins: ['https://a.example', 'http://localhost:3000', 'capacitor://localhost', 'chrome-extension://abcdef', 'null', 'http://[::1]:8080'] }",
    },
  ],
  ['HEAD alone', match('methods: [HEAD]')],
  ['the path of a gRPC call', match(`paths: [/${service}/Echo]`)],
  ['paths with wildcards', match("paths: ['/v1/echo/*', '/v1/**']")],
  ['proxies', { rest: "trusted_proxies: [10.0.0.0/8, 192.0.2.1, '::1', 'fd00::/8', 0.0.0.0/0]" }],
  ['fields of clients', { upstream: 'request_headers: [cookie, origin, user-agent, x-tenant]' }],
  ['addresses as npm start prints them', { address: 'grpc://127.0.0.1:1, http://[::1]:2/' }],
])('takes %s', (_, parts) => expect(faultsOf(fileWith(parts))).toEqual([]));

describe('several mistakes', () => {
  test('of every kind are told at once, in the order of the file', () => {
    const yaml = `upstreams:
  - name: a
    address: \${A_ADDRESS}
    descriptor_set: ${echoDescriptorSet}
    http:
      rules:
        - { selector: ${service}.Hang, get: '/x/{nope}' }
        - { selector: ${service}.Echo, post: '/y', body: nope }
  - name: b
    address: b.example
    descriptor_set: none.binpb
  - name: c
    address: 127.0.0.1:1
    descriptor_set: ${echoDescriptorSet}
    timeoot: 1s
cors: { origins: [a.example] }
`;
    expect(faultsOf(yaml).map((fault) => fault.split(': ').slice(0, 2).join(' '))).toEqual([
      '3 upstreams.0.address',
      '7 upstreams.a.http.rules.0',
      '8 upstreams.a.http.rules.1',
      '10 upstreams.b.address',
      '11 upstreams.b.descriptor_set',
      '15 upstreams.2.timeoot',
      '16 cors.origins.0',
    ]);
  });

  test('two upstreams with one service: both names and the remedy', () => {
    const yaml = fileWith({}).replace(
      'auth:',
      `  - name: other\n    address: 127.0.0.1:2\n    descriptor_set: ${echoDescriptorSet}\nauth:`,
    );
    expect(faultsOf(yaml)).toEqual([
      `8: upstreams.other.descriptor_set: ${service} is served by the upstreams echo and other: expected one of them; \`services\` says what each serves, \`hosts\` to whom`,
    ]);
  });

  describe('hosts', () => {
    const second = (first: string, other: string, rest = '') =>
      fileWith({ upstream: first, rest }).replace(
        'auth:',
        `  - name: other\n    address: 127.0.0.1:2\n    descriptor_set: ${echoDescriptorSet}\n    ${other}\nauth:`,
      );

    test.each([
      ['of its own for each', 'hosts: [a.example]', 'hosts: [b.example]'],
      ['for one, all others for the other', '', 'hosts: [b.example]'],
      ['for one below those of the other', "hosts: ['*.example']", 'hosts: [b.example]'],
    ])('two upstreams may serve one service: %s', (_, first, other) => {
      expect(faultsOf(second(first, other))).toEqual([]);
    });

    test('two upstreams with one service at one host: both names, the host and the remedy', () => {
      const faults = faultsOf(second('hosts: [a.example, b.example]', 'hosts: [b.example]'));
      expect(faults).toHaveLength(1);
      expect(faults[0]).toContain(
        `${service} is served by the upstreams echo and other, at the host b.example: expected one of them`,
      );
    });

    test.each<[string, Parts, string]>([
      ['a port', { rest: 'hosts: [a.example:443]' }, '7: hosts.0: "a.example:443": expected a host such as'],
      ['a URL', { rest: "hosts: ['https://A.example/x']" }, 'did you mean "a.example"?'],
      ['upper case', { rest: 'hosts: [API.example]' }, 'did you mean "api.example"?'],
      ['letters that are not ASCII', { rest: 'hosts: [bücher.example]' }, 'did you mean "xn--bcher-kva.example"?'],
      ['an IPv6 address without brackets', { rest: "hosts: ['::1']" }, 'did you mean "[::1]"?'],
      ['an asterisk in the middle', { rest: 'hosts: [a.*.example]' }, 'expected a host such as'],
      ['an asterisk alone', { rest: "hosts: ['*']" }, 'without any every host is meant'],
      ['none', { rest: 'hosts: []' }, '7: hosts: '],
      ['a host twice', { rest: 'hosts: [a.example, a.example]' }, 'hosts.1: "a.example": expected each host once'],
      [
        'a host that another entry covers',
        { rest: "hosts: [a.example, '*.example']" },
        'hosts.0: "a.example": expected a host that *.example is not for already',
      ],
      [
        'a host of an upstream that is not served',
        { upstream: 'hosts: [api.exmple]', rest: 'hosts: [api.example, b.example]' },
        '5: upstreams.echo.hosts.0: "api.exmple": expected a host that `hosts` has; did you mean "api.example"?',
      ],
      [
        'a host of a policy that is not served',
        { rest: `${match('hosts: [c.test]').rest}\nhosts: [b.example]` },
        'limits.policies.0.match.hosts.0: "c.test": expected a host that `hosts` has',
      ],
      [
        'a host of a policy at which its methods are not',
        { upstream: 'hosts: [b.example]', ...{ rest: match(`hosts: [c.example], rpcs: [${service}.*]`).rest! } },
        'limits.policies.0.match: expected a match that some call can meet',
      ],
    ])('%s is refused', (_, parts, expected) => {
      expect(faultsOf(fileWith(parts)).join('\n')).toContain(expected);
    });
  });

  test.each([
    [
      'a tenant of two tiers',
      'tiers: { vip: [acme], gold: [acme] }',
      'tiers.gold.0: "acme": expected each tenant once',
    ],
    ['the tier of all others', 'tiers: { standard: [acme] }', 'tiers.standard: expected another tier'],
    ['a tier of nobody', 'tiers: { vip: [] }', 'tenants.tiers.vip: '],
    ['what is no tenant', 'tiers: { vip: ["a b"] }', 'tenants.tiers.vip.0: "a b"'],
  ])('%s is refused', (_, text, expected) => {
    expect(faultsOf(fileWith({ rest: `tenants: { ${text} }` })).join('\n')).toContain(expected);
  });

  test('names that stand twice', () => {
    const yaml = fileWith({}).replace(
      'auth:',
      `  - name: echo\n    address: 127.0.0.1:2\n    descriptor_set: ${echoDescriptorSet}\nauth:`,
    );
    expect(faultsOf(yaml)[0]).toContain('6: upstreams.1.name: "echo": expected a name of its own');
  });
});

describe('rules that cannot be used', () => {
  const clash = `http: { rules: [{ selector: ${service}.Hang, get: /v1/metadata }, { selector: ${service}.Echo, post: '/v1/{nope}' }] }`;

  it('are refused with what to do', () => {
    const faults = faultsOf(fileWith({ upstream: clash }));
    expect(faults).toHaveLength(2);
    expect(faults.join('\n')).toMatch(
      /upstreams\.echo\.http\.rules\.1: .*nope.* none: true takes it away, and unusable_rules: skip leaves out all such/,
    );
    expect(faults.join('\n')).toMatch(
      /two rules match the same requests: .* of upstream echo and .* of upstream echo: expected one of them to go/,
    );
  });

  it('are left out with unusable_rules: skip, and the others are served', () => {
    const file = join(folder, 'skip.yaml');
    writeFileSync(file, fileWith({ upstream: `${clash}\n    unusable_rules: skip` }));
    const lines = routeList(file).split('\n');
    expect(lines.filter((line) => line.startsWith('left out of echo: '))).toHaveLength(2);
    expect(lines.filter((line) => / \/v1\/metadata /.test(line))).toHaveLength(1);
  });

  it('none: true takes an annotation away', () => {
    const file = join(folder, 'none.yaml');
    writeFileSync(file, fileWith({ upstream: `http: { rules: [{ selector: ${service}.Metadata, none: true }] }` }));
    expect(routeList(file)).toMatch(/^- +gRPC and gRPC-Web only +\/echo\.v1\.EchoService\/Metadata/m);
    expect(
      faultsOf(fileWith({ upstream: `http: { rules: [{ selector: ${service}.Metadata, none: true, get: /x }] }` }))[0],
    ).toContain('none: true stands beside a pattern');
  });
});

it('services of files that are only imported are served when they are named, and told otherwise', () => {
  const service = (name: string) => [{ name, method: [{ name: 'Do', inputType: '.lib.E', outputType: '.lib.E' }] }];
  const set = create(FileDescriptorSetSchema, {
    file: [
      { name: 'lib.proto', package: 'lib', syntax: 'proto3', messageType: [{ name: 'E' }], service: service('Jobs') },
      { name: 'a.proto', package: 'acme', syntax: 'proto3', dependency: ['lib.proto'], service: service('A') },
    ],
  });
  writeFileSync(join(folder, 'acme.binpb'), toBinary(FileDescriptorSetSchema, set));
  const listed = (more: string) => {
    const file = join(folder, 'acme.yaml');
    writeFileSync(file, `upstreams: [{ name: acme, address: 'a:1', descriptor_set: acme.binpb${more} }]\n`);
    return routeList(file);
  };
  expect(listed('')).toMatch(/^- .* \/acme\.A\/Do .*\nleft out of acme: lib\.Jobs is of a file that is only imported/);
  expect(listed(', services: [lib.Jobs]')).toMatch(/^- .* \/lib\.Jobs\/Do [^\n]*$/);
});
