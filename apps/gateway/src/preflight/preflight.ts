import { Problem } from '@sluice/problem';
import type { Field, FieldSection, Handshake } from '@sluice/wire';
import { parseTraceparent, type TraceContext } from '@sluice/telemetry';
import { type SaidTenant, saidTenant, type TenantRules } from '../tenant/said-tenant.js';
import type { TrustedProxies } from './address.js';
import {
  absent,
  type Authorization,
  duplicate,
  duplicateKey,
  parseApiKey,
  parseAuthorization,
  withKeys,
} from './authorization.js';
import { readForwarding } from './forwarding.js';
import { contradicts, hostnameOf } from './hosts.js';
import type { Routed, Routes } from '../route/route.js';
import type { PreparedCall } from '../upstream/metadata.js';
import { parseGrpcTimeout, parseRequestTimeout } from './request-timeout.js';

/** What preflight looks at. */
export interface RawRequest {
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  readonly scheme: 'http' | 'https';
  readonly writtenScheme?: string;
  readonly authority: string | undefined;
  readonly section: FieldSection;
  readonly peerAddress: string;
  readonly peer?: { readonly handshake?: Handshake | undefined } | undefined;
}

/** What the configuration says of hosts. */
export interface HostRules {
  /** Whether requests for a host are taken at all; of names as `hostnameOf` gives them. */
  served(hostname: string): boolean;
  /** What is served to a host. */
  routesOf(hostname: string): Routes;
}

export interface PreflightRules {
  readonly trusted: TrustedProxies;
  /** Whose connections begin with a header of the PROXY protocol. */
  readonly announced: TrustedProxies;
  readonly tenants: TenantRules;
  /** Whether API keys are taken; `x-api-key` is a field like others where they are not. */
  readonly apiKeys: boolean;
  /** Most fields that a request may have. */
  readonly fieldsMax: number;
  /** Undefined: whatever host is asked for, it gets the same. */
  readonly hosts: HostRules | undefined;
}

/** The header fields of a request, understood once. */
export interface RequestHead {
  readonly authorization: Authorization;
  /** `Authorization` as it was written, whatever its scheme, for upstreams that judge it themselves; undefined when absent or empty. */
  readonly authorizationText: string | undefined;
  /** Host and port that the client asked for; empty on HTTP/1.0. */
  readonly host: string;
  /** The host as names are compared, where the configuration says anything of hosts; else empty. */
  readonly hostname: string;
  /** What is served to the host; undefined: what every host gets. */
  readonly routes: Routes | undefined;
  /** `http` or `https` as the client sees it. */
  readonly scheme: string;
  readonly clientAddress: string;
  readonly contentType: string | undefined;
  readonly accept: string | undefined;
  readonly acceptEncoding: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly origin: string | undefined;
  /** Bytes of the body as announced; the listener has made sure that it is a number. */
  readonly contentLength: number | undefined;
  readonly cookie: string | undefined;
  /** The time that the client asked for, in milliseconds. */
  readonly timeoutMs: number | undefined;
  /** What the fields say of the Connect protocol; undefined when they say nothing. */
  readonly connect: ConnectHead | undefined;
  readonly trace: TraceContext | undefined;
  /** The tenant that the header field or the host names. */
  readonly tenant: SaidTenant | undefined;
  /** `x-request-id`, when it is one that can be given back: up to 128 letters, digits and `._~:/+=@|-`. */
  readonly requestId: string | undefined;
  readonly userAgent: string | undefined;
  /** What was made ready for the next request that says the same, and is routed the same way. */
  prepared?: PreparedCall | 'once';
  /** Where the last request with this head led. */
  routed?: Routed;
  /** Fields that may go on to an upstream, names in lower case; which of them do is the upstream's configuration. */
  readonly passable: readonly Field[];
}

/** The fields of the Connect protocol (https://connectrpc.com/docs/protocol). */
export interface ConnectHead {
  readonly version: string | undefined;
  /** Of the messages of a stream. */
  readonly contentEncoding: string | undefined;
}

/** The usual type of a body: one text, so that comparing it later compares no characters. */
const JSON_TYPE = 'application/json';
/** A field name as RFC 9110 section 5.1 has it, in lower case; HTTP/2 has no other (RFC 9113 section 8.2.1). */
const LOWER_CASE_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
/** Control characters but HTAB, and DEL: not in any value (RFC 9110 section 5.5). */
// oxlint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u0008\u000a-\u001f\u007f]/;

const REQUEST_ID = /^[A-Za-z0-9._~:/+=@|-]{1,128}$/;
/** Metadata are visible US-ASCII and spaces (gRPC over HTTP/2, "Custom-Metadata"). */
const VISIBLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** What a field is to the gateway. */
type Kind =
  | 'authorization'
  | 'host'
  | 'forwarded'
  | 'forwarded-for'
  | 'forwarded-proto'
  | 'forwarded-host'
  | 'forwarded-list'
  | 'connection'
  | 'expect'
  | 'length'
  | 'once'
  | 'cookie'
  | 'trace'
  | 'request-id'
  | 'user-agent'
  | 'api-key';

/** Fields with a meaning to the gateway; every other one may pass. Names that begin with `x-sluice-` never do. */
const kinds: Readonly<Record<string, Kind>> = {
  authorization: 'authorization',
  'proxy-authorization': 'forwarded',
  host: 'host',
  'x-forwarded-for': 'forwarded-for',
  'x-forwarded-proto': 'forwarded-proto',
  'x-forwarded-host': 'forwarded-host',
  'x-forwarded-port': 'forwarded',
  'x-forwarded-prefix': 'forwarded',
  'x-forwarded-server': 'forwarded',
  'x-real-ip': 'forwarded',
  forwarded: 'forwarded-list',
  'true-client-ip': 'forwarded',
  'cf-connecting-ip': 'forwarded',
  'x-client-ip': 'forwarded',
  // RFC 9110 section 7.6.1 and RFC 9113 section 8.2.2.
  connection: 'connection',
  'proxy-connection': 'connection',
  'keep-alive': 'connection',
  te: 'connection',
  trailer: 'connection',
  'transfer-encoding': 'connection',
  upgrade: 'connection',
  'http2-settings': 'connection',
  'content-length': 'length',
  expect: 'expect',
  'content-type': 'once',
  accept: 'once',
  'accept-encoding': 'once',
  'content-encoding': 'once',
  origin: 'once',
  'grpc-timeout': 'once',
  'x-request-timeout': 'once',
  'connect-protocol-version': 'once',
  'connect-timeout-ms': 'once',
  'connect-content-encoding': 'once',
  'connect-accept-encoding': 'once',
  cookie: 'cookie',
  traceparent: 'trace',
  'x-request-id': 'request-id',
  'user-agent': 'user-agent',
  'x-api-key': 'api-key',
  'grpc-metadata-x-api-key': 'api-key',
};

export const API_KEY_FIELD = 'x-api-key';

/** Whether the gateway keeps a field to itself: it is never among {@link RequestHead.passable}. */
export function isKept(name: string): boolean {
  return (name in kinds && kinds[name] !== 'api-key') || name.startsWith('x-sluice-');
}

/**
 * Reads the header fields as they arrived and decides what they mean.
 *
 * @throws Problem MALFORMED_REQUEST, HEADERS_TOO_LARGE, AUTHORITY_MISMATCH, MISDIRECTED_REQUEST, TENANT_MISMATCH or EXPECTATION_FAILED;
 *   a fault of `Authorization` is only noted
 */
export function preflight(request: RawRequest, rules: PreflightRules): RequestHead {
  const { section, authority } = request;
  const known = section.meaning as Understood | undefined;
  if (known !== undefined && known.rules === rules && known.authority === authority) return known.head;
  const head = understand(request, rules);
  section.meaning = { rules, authority, head } satisfies Understood;
  return head;
}

/** What a section meant the last time. Requests that share one come over one connection, from one peer. */
interface Understood {
  readonly rules: PreflightRules;
  readonly authority: string | undefined;
  readonly head: RequestHead;
}

function understand(request: RawRequest, rules: PreflightRules): RequestHead {
  const { fields } = request.section;
  // Another scheme would ask for a translation that the gateway does not make (RFC 9113 section 8.3.1).
  if (request.writtenScheme !== undefined && !/^https?$/i.test(request.writtenScheme)) {
    throw new Problem('MALFORMED_REQUEST', 'The :scheme is neither http nor https.');
  }
  if (fields.length > rules.fieldsMax) {
    throw new Problem('HEADERS_TOO_LARGE', `The request has more than ${rules.fieldsMax} header fields.`);
  }
  let authorization: Authorization = absent;
  let authorizationText: string | undefined;
  let host: string | undefined;
  let forwardedFor = '';
  let forwardedProto = '';
  let forwardedHost = '';
  let forwardedList = '';
  let cookie: string | undefined;
  let traceparent: string | undefined;
  let requestId: string | undefined;
  let userAgent: string | undefined;
  let contentLength: number | undefined;
  let once: Record<string, string> | undefined;
  let listed: ReadonlySet<string> | undefined;
  let tenant: string | undefined;
  let apiKey: Authorization | undefined;
  const passable: Field[] = [];

  for (const [written, value] of fields) {
    const name = written.toLowerCase();
    if (FORBIDDEN.test(value))
      throw new Problem('MALFORMED_REQUEST', `The header ${quote(name)} has a control character.`);
    switch (kinds[name]) {
      case 'authorization':
        authorization = authorization === absent ? parseAuthorization(value) : duplicate;
        authorizationText = value.trim() || authorizationText;
        break;
      case 'host':
        if (host !== undefined) throw new Problem('MALFORMED_REQUEST', 'The request has more than one Host header.');
        host = value;
        break;
      case 'forwarded-for':
        forwardedFor = appended(forwardedFor, value);
        break;
      case 'forwarded-proto':
        forwardedProto = appended(forwardedProto, value);
        break;
      case 'forwarded-host':
        forwardedHost = appended(forwardedHost, value);
        break;
      case 'forwarded-list':
        forwardedList = appended(forwardedList, value);
        break;
      case 'forwarded':
        break;
      case 'connection':
        if (name === 'connection') listed = connectionOptions(value, listed);
        break;
      case 'expect':
        // HTTP/1.1 has refused it before; HTTP/2 has the same rule (RFC 9110 section 10.1.1).
        if (value.toLowerCase() !== '100-continue') {
          throw new Problem('EXPECTATION_FAILED', 'Only 100-continue can be expected.');
        }
        break;
      case 'length':
        contentLength = Number(value);
        break;
      case 'once':
        once ??= {};
        if (once[name] === undefined) once[name] = value;
        else if (name === 'accept' || name === 'accept-encoding') once[name] += `,${value}`;
        else throw new Problem('MALFORMED_REQUEST', `The request has more than one ${name} header.`);
        break;
      case 'cookie':
        cookie = cookie === undefined ? value : `${cookie}; ${value}`;
        break;
      case 'trace':
        traceparent = traceparent === undefined ? value : '';
        break;
      case 'request-id':
        // Of two, nobody knows which is meant: the gateway makes its own.
        requestId = requestId === undefined ? value : '';
        break;
      case 'user-agent':
        userAgent ??= value;
        break;
      case 'api-key':
        if (!rules.apiKeys) passable.push([name, value]);
        else if (name === API_KEY_FIELD) apiKey = apiKey === undefined ? parseApiKey(value) : duplicateKey;
        break;
      default:
        if (!LOWER_CASE_NAME.test(name)) throw new Problem('MALFORMED_REQUEST', `${quote(name)} is not a header name.`);
        if (!name.startsWith('x-sluice-')) passable.push([name, value]);
        if (name !== rules.tenants.header) break;
        if (tenant !== undefined) {
          throw new Problem('MALFORMED_REQUEST', `The request has more than one ${name} header.`);
        }
        tenant = value;
    }
  }

  if (rules.apiKeys) {
    authorization = withKeys(authorization, apiKey);
    // A key is for the gateway alone. What goes on to an upstream is a token, or what the gateway does not look at.
    if (authorization.kind === 'key' || apiKey !== undefined) authorizationText = undefined;
  }
  const said = { for: forwardedFor, proto: forwardedProto, host: forwardedHost, forwarded: forwardedList };
  const forwarding = readForwarding(request.peerAddress, said, rules.trusted);
  const ownHost = agreedHost(request, host);
  const askedHost = forwarding.host !== undefined && isHost(forwarding.host) ? forwarding.host : ownHost;
  const hostname = rules.hosts === undefined ? '' : servedHost(request, askedHost, ownHost, rules);
  return {
    authorization,
    authorizationText,
    host: askedHost,
    hostname,
    routes: rules.hosts?.routesOf(hostname),
    scheme: forwarding.scheme ?? request.scheme,
    clientAddress: forwarding.clientAddress,
    contentType: once?.['content-type'] === JSON_TYPE ? JSON_TYPE : once?.['content-type'],
    accept: once?.['accept'],
    acceptEncoding: once?.['accept-encoding'],
    contentEncoding: once?.['content-encoding'],
    origin: once?.['origin'],
    contentLength,
    cookie,
    timeoutMs: timeoutOf(once),
    connect: once && connectOf(once),
    trace: parseTraceparent(traceparent),
    tenant: saidTenant(rules.tenants, tenant, hostname),
    requestId: requestId !== undefined && REQUEST_ID.test(requestId) ? requestId : undefined,
    userAgent: userAgent !== undefined && VISIBLE.test(userAgent) ? userAgent : undefined,
    passable: listed ? passable.filter(([name]) => !listed.has(name)) : passable,
  };
}

/** `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2), without a user (RFC 9110 section 4.2.4). */
const HOST = /^(?:[\w\-.~!$&'()*+,;=%]*|\[[0-9a-f:.]+\])(?::\d*)?$/i;

function isHost(text: string): boolean {
  return text !== '' && HOST.test(text);
}

/**
 * The host that was asked for. On HTTP/2 `:authority` and `Host` must agree when both are there (RFC 9113 section 8.3.1);
 * on HTTP/1.1 the host of an absolute target counts and `Host` does not (RFC 9112 section 3.2.2).
 */
function agreedHost(request: RawRequest, host: string | undefined): string {
  const { authority } = request;
  if (host !== undefined && !HOST.test(host)) {
    throw new Problem('MALFORMED_REQUEST', 'The Host header is not a host with an optional port.');
  }
  if (authority === undefined) {
    if (request.protocol === 'HTTP/2' && !host) {
      throw new Problem('MALFORMED_REQUEST', 'The request names no host. Send :authority or Host.');
    }
    return host ?? '';
  }
  if (authority === '' || !HOST.test(authority)) {
    throw new Problem('MALFORMED_REQUEST', 'The request target does not name a host with an optional port.');
  }
  if (request.protocol === 'HTTP/2' && host !== undefined && authority.toLowerCase() !== host.toLowerCase()) {
    throw new Problem('AUTHORITY_MISMATCH', 'The Host header and :authority name different hosts. Send one of them.');
  }
  return authority;
}

/**
 * The host as names are compared. What a trusted proxy named in its handshake says nothing of its client's request.
 *
 * @throws Problem MISDIRECTED_REQUEST (RFC 9110 section 15.5.20): sent over a connection of its own it may be answered
 */
function servedHost(request: RawRequest, asked: string, own: string, rules: PreflightRules): string {
  const hostname = hostnameOf(asked);
  if (!rules.hosts!.served(hostname)) {
    throw new Problem('MISDIRECTED_REQUEST', `The host ${quote(asked)} is not served here.`);
  }
  const handshake = request.peer?.handshake;
  if (
    handshake !== undefined &&
    contradicts(hostnameOf(own), handshake, request.protocol) &&
    !rules.trusted(request.peerAddress)
  ) {
    throw new Problem(
      'MISDIRECTED_REQUEST',
      `The connection was opened for another host than ${quote(own)}. Send the request over one of its own.`,
    );
  }
  return hostname;
}

function connectOf(once: Record<string, string>): ConnectHead | undefined {
  const version = once['connect-protocol-version'];
  const type = once['content-type'];
  const isOfConnect = type !== undefined && /^application\/(connect\+|proto\s*(;|$))/i.test(type);
  if (version === undefined && !isOfConnect) return undefined;
  return { version, contentEncoding: once['connect-content-encoding'] };
}

/** A field that came once more. */
function appended(before: string, value: string): string {
  return before === '' ? value : `${before},${value}`;
}

function timeoutOf(once: Record<string, string> | undefined): number | undefined {
  const grpc = once?.['grpc-timeout'];
  const rest = once?.['x-request-timeout'];
  if (grpc !== undefined) {
    const parsed = parseGrpcTimeout(grpc);
    if (parsed === undefined)
      throw new Problem('MALFORMED_REQUEST', 'grpc-timeout: expected digits and a unit, as in 500m.');
    return parsed;
  }
  const connect = once?.['connect-timeout-ms'];
  if (connect !== undefined) {
    if (/^\d{1,10}$/.test(connect)) return Number(connect);
    throw new Problem('MALFORMED_REQUEST', 'connect-timeout-ms: expected milliseconds, up to ten digits.');
  }
  if (rest !== undefined) {
    const parsed = parseRequestTimeout(rest);
    if (parsed === undefined) {
      throw new Problem(
        'MALFORMED_REQUEST',
        'X-Request-Timeout: expected seconds or a duration, as in 2.5, 500ms or 5s.',
      );
    }
    return parsed;
  }
  return undefined;
}

/** Fields that `Connection` names are for this hop alone (RFC 9110 section 7.6.1). */
function connectionOptions(value: string, before: ReadonlySet<string> | undefined): ReadonlySet<string> | undefined {
  if (before === undefined && /^(keep-alive|close)$/i.test(value)) return undefined;
  const names = value.split(',').map((name) => name.trim().toLowerCase());
  return new Set([...(before ?? []), ...names]);
}

function quote(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}
