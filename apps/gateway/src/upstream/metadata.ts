import type { Caller } from '@sluice/identity';
import { formatTraceparent } from '@sluice/telemetry';
import type { Call, CallEvents, CallOptions, Field, MethodHandle } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import { isKept } from '../preflight/preflight.js';
import type { Route, UpstreamPlace } from '../route/route.js';
import type { Upstream } from './upstream.js';

const METADATA_PREFIX = 'grpc-metadata-';

/** Names that the gateway or gRPC itself decides on. A client cannot set them, whatever the configuration says. */
const reserved = new Set([
  'content-type',
  'te',
  'user-agent',
  'grpc-timeout',
  'traceparent',
  'x-request-id',
  'authorization',
  'cookie',
]);

/** What is expected in place of a field that `request_headers` cannot list; undefined when it can. */
export function unlistable(name: string): string | undefined {
  if (name === 'authorization') return '`forward_authorization: true`, which passes it on';
  if (name.startsWith(METADATA_PREFIX)) return `no such field: every ${METADATA_PREFIX}* goes on, without the prefix`;
  if (name === 'cookie' || name === 'origin' || name === 'user-agent') return undefined;
  const isOurs = isKept(name) || name.startsWith('grpc-') || name.startsWith('x-forwarded-');
  return isOurs ? 'a field that the gateway neither sets itself nor keeps' : undefined;
}

/**
 * The metadata of a call to an upstream:
 *
 * - `x-request-id` and `user-agent` of the client; a request without an id has that of its trace;
 * - `traceparent`, `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host`, set by the gateway;
 * - `x-sluice-certificate-subject`, whose certificate the client has shown (RFC 4514), when it has shown one;
 * - `x-sluice-*`, who is calling; with the secret of the service when the upstream is trusted. When nobody is signed in,
 *   `x-sluice-tenant` is the tenant that the header field or the host names;
 * - over REST `Grpc-Metadata-Name: value` as `name`, over gRPC and gRPC-Web all custom metadata;
 * - header fields that the upstream's configuration lists under `request_headers`;
 * - `authorization` as the client wrote it, when the upstream is configured to get it. On a route that is not public it is the token
 *   that was checked; on a public one, and without `auth`, it is for the upstream to judge.
 */
export function requestMetadata(exchange: Exchange, upstream: Upstream): Field[] {
  return [...repeatedMetadata(exchange, upstream), ...ownFields(exchange)];
}

/** A method whose calls have the metadata of one request, without what each call has of its own. */
export interface PreparedCall {
  readonly route: Route;
  readonly caller: Caller | undefined;
  readonly handle: MethodHandle;
}

/**
 * Starts a call with one message. What clients repeat octet by octet is encoded the second time, and only copied from then on.
 */
export function startUnary(
  exchange: Exchange,
  { upstream, handle }: UpstreamPlace,
  message: Uint8Array,
  options: CallOptions,
  events: CallEvents,
): Call {
  const { head, route, caller } = exchange;
  const { prepared } = head;
  const { channel } = upstream;
  const own = ownFields(exchange);
  if (prepared !== undefined && prepared !== 'once' && prepared.route === route && prepared.caller === caller) {
    return channel.unary(prepared.handle, own, message, options, events);
  }
  const metadata = repeatedMetadata(exchange, upstream);
  const encoded = prepared === 'once' ? channel.methodWith(handle, metadata) : undefined;
  head.prepared = encoded === undefined ? 'once' : { route, caller, handle: encoded };
  return channel.unary(handle, [...metadata, ...own], message, options, events);
}

/** What no two calls have alike. A request id that is the trace's is not said twice. */
function ownFields({ head, trace, requestIdField }: Exchange): Field[] {
  const traceparent: Field = ['traceparent', formatTraceparent(trace)];
  return head.requestId === undefined && head.trace !== undefined ? [traceparent, requestIdField] : [traceparent];
}

function repeatedMetadata(exchange: Exchange, upstream: Upstream): Field[] {
  const { head, caller, route } = exchange;
  const { config } = upstream;
  const fields: Field[] = [
    ['x-forwarded-for', head.clientAddress],
    head.scheme === 'http' ? HTTP : ['x-forwarded-proto', head.scheme],
  ];
  if (head.requestId !== undefined) fields.push(['x-request-id', head.requestId]);
  if (head.userAgent !== undefined) fields.push(['user-agent', head.userAgent]);
  if (head.host !== '') fields.push(['x-forwarded-host', head.host]);
  if (config.trusted !== false) {
    if (upstream.secretField !== undefined) fields.push(upstream.secretField);
    fields.push(['x-sluice-client-ip', head.clientAddress]);
  }
  const { certificateSubject } = exchange.transport.peer;
  if (certificateSubject !== undefined) fields.push(['x-sluice-certificate-subject', certificateSubject]);
  if (caller) for (const field of identityOf(caller)) fields.push(field);
  else if (head.tenant !== undefined) fields.push(['x-sluice-tenant', head.tenant.name]);
  if (upstream.forwardsAuthorization && head.authorizationText !== undefined) {
    fields.push(['authorization', head.authorizationText]);
  }
  const listed = config.request_headers;
  const asMetadata = route.form !== 'rest';
  for (const field of head.passable) {
    const [name, value] = field;
    if (name.startsWith(METADATA_PREFIX)) {
      const bare = name.slice(METADATA_PREFIX.length);
      if (acceptable(bare)) fields.push([bare, value]);
    } else if (listed.includes(name) || (asMetadata && acceptable(name))) fields.push(field);
  }
  if (head.cookie !== undefined && listed.includes('cookie')) fields.push(['cookie', head.cookie]);
  if (head.origin !== undefined && listed.includes('origin')) fields.push(['origin', head.origin]);
  return fields;
}

const HTTP: Field = ['x-forwarded-proto', 'http'];

/** A caller stays the same object from one call to the next, as long as the verdict on the token is kept. */
const identities = new WeakMap<Caller, readonly Field[]>();

function identityOf(caller: Caller): readonly Field[] {
  let fields = identities.get(caller);
  if (!fields) identities.set(caller, (fields = identityFields(caller)));
  return fields;
}

function identityFields(caller: Caller): Field[] {
  const fields: Field[] = [
    ['x-sluice-subject', caller.subject],
    ['x-sluice-tenant', caller.tenant],
  ];
  if (caller.session !== '') fields.push(['x-sluice-session', caller.session]);
  if (caller.roles.length > 0) fields.push(['x-sluice-roles', caller.roles.join(',')]);
  if (caller.scope !== '') fields.push(['x-sluice-scope', caller.scope]);
  if (caller.guest) fields.push(['x-sluice-guest', 'true']);
  if (caller.unverified) fields.push(['x-sluice-unverified', 'true']);
  if (caller.account !== '') fields.push(['x-sluice-account', caller.account]);
  if (caller.key !== undefined) {
    fields.push(['x-sluice-key', caller.key.id]);
    if (caller.key.models.length > 0) fields.push(['x-sluice-models', caller.key.models.join(',')]);
  }
  return fields;
}

function acceptable(name: string): boolean {
  return (
    !reserved.has(name) &&
    !name.startsWith('x-sluice-') &&
    !name.startsWith('x-forwarded-') &&
    !name.startsWith('grpc-')
  );
}
