import { Problem } from '@sluice/problem';
import type { Binding, MethodInfo, RouteMatch, RouteTable } from '@sluice/transcode';
import type { MethodHandle } from '@sluice/wire';
import type { Exchange } from '../exchange.js';
import type { OwnMethod } from '../local/grpc-call.js';
import { isBareConnect, speaksConnect } from '../connect/recognize.js';
import type { LocalMethod } from '../local/local.js';
import type { Upstream } from '../upstream/upstream.js';
import type { Access } from './access.js';
import { allowed } from './options.js';

/** How the client speaks to the method. */
export type Form = 'rest' | 'grpc' | 'grpc-web' | 'grpc-web-text' | 'connect';
/** Those in which messages are framed as gRPC frames them. */
export type GrpcForm = Exclude<Form, 'rest' | 'connect'>;

/** A method that can be called. */
export interface Target {
  readonly method: MethodInfo;
  readonly access: Access;
  readonly timeoutMs: number;
  /** Octets of a request's body, before and after decoding. */
  readonly bodyMax: number;
  /** The number of the field in which the message of a unary method that anyone may call names a tenant; undefined: it has none. */
  readonly tenantField: number | undefined;
  /** Where it is: behind an upstream, or in the gateway itself. */
  readonly place: UpstreamPlace | LocalPlace;
}

export interface UpstreamPlace {
  readonly kind: 'upstream';
  readonly upstream: Upstream;
  readonly handle: MethodHandle;
  /** The method may be called again when the answer was lost. */
  readonly idempotent: boolean;
}

/** A method of the gateway itself. */
export interface LocalPlace {
  readonly kind: 'local';
  /** Over REST. */
  readonly serve: LocalMethod;
  /** Over gRPC and gRPC-Web; undefined: over REST only. */
  readonly open?: OwnMethod;
}

export interface Route {
  readonly form: Form;
  readonly target: Target;
  /** The HTTP rule, when the form is `rest`. */
  readonly binding: Binding | undefined;
  /** Refusals are told as RFC 6749 section 5.2 says. */
  readonly oauthErrors?: boolean;
}

/** The routes of every method under the forms that are found by gRPC path. */
export type GrpcRoutes = ReadonlyMap<string, Readonly<Record<Exclude<Form, 'rest'>, Route>>>;

/** Everything that can be called. */
export interface Routes {
  /** By HTTP method and path. */
  readonly rest: RouteTable<Route>;
  /** By gRPC path. */
  readonly grpc: GrpcRoutes;
}

/** A request that was routed, and what its path led to. */
export interface Routed {
  readonly routes: Routes;
  readonly method: string;
  readonly target: string;
  readonly route: Route;
  readonly variables: readonly string[];
}

/** Pipeline stage: which method is meant. Sets the deadline too, since the route knows its default. */
export function route(exchange: Exchange): void {
  const { head } = exchange;
  const routed = routeAgain(exchange) ?? newRoute(exchange);
  exchange.route = routed.route;
  exchange.variables = routed.variables;
  const { timeoutMs } = routed.route.target;
  exchange.deadline = Date.now() + (head.timeoutMs === undefined ? timeoutMs : allowedTime(exchange, head.timeoutMs));
}

/** Of the time that a client asks for as much as it may have; of a stream it may have what it would get without asking. */
function allowedTime({ route: { target }, runtime }: Exchange, askedMs: number): number {
  const longest = runtime.config.timeouts.max;
  return Math.min(askedMs, target.method.kind === 'unary' ? longest : Math.max(longest, target.timeoutMs));
}

/** What the last request with this head led to, if it had the same path: a client that repeats one mostly repeats the other. */
function routeAgain({ head, routes, transport }: Exchange): Routed | undefined {
  const { routed } = head;
  return routed !== undefined &&
    routed.target === transport.target &&
    routed.method === transport.method &&
    routed.routes === routes
    ? routed
    : undefined;
}

function newRoute(exchange: Exchange): Routed {
  const { head, routes, transport } = exchange;
  const { method, target } = transport;
  const form = formOf(head.contentType);
  const { payload: route, variables } =
    form === 'rest' ? connectOrRest(exchange) : { payload: grpcRoute(exchange, form), variables: [] };
  return (head.routed = { routes, method, target, route, variables });
}

/** What a path leads to; HEAD leads where GET does, unless a rule of its own says otherwise. */
export function matchRest(routes: RouteTable<Route>, method: string, path: string): RouteMatch<Route> {
  const found = routes.match(method, path);
  return found.kind === 'method_not_allowed' && method === 'HEAD' ? routes.match('GET', path) : found;
}

function connectOrRest(exchange: Exchange): Pick<RouteMatch<Route> & { kind: 'found' }, 'payload' | 'variables'> {
  const payload = speaksConnect(exchange) ? connectRoute(exchange) : undefined;
  return payload ? { payload, variables: [] } : restRoute(exchange);
}

/** The method that a Connect client means, which has its gRPC path. */
function connectRoute({ routes, path }: Exchange): Route | undefined {
  return routes.grpc.get(path)?.connect;
}

function restRoute(exchange: Exchange): Pick<RouteMatch<Route> & { kind: 'found' }, 'payload' | 'variables'> {
  const { routes, transport } = exchange;
  const match = matchRest(routes.rest, transport.method, exchange.path);
  if (match.kind !== 'found' && isBareConnect(exchange)) {
    const payload = connectRoute(exchange);
    if (payload) return { payload, variables: [] };
  }
  switch (match.kind) {
    case 'found':
      return match;
    case 'method_not_allowed': {
      throwFaultFirst(exchange);
      const allow = allowed(match.allow);
      throw new Problem('METHOD_NOT_ALLOWED', `This path takes ${allow}.`, { headers: { allow } });
    }
    case 'not_found':
      throwFaultFirst(exchange);
      throw new Problem('ROUTE_NOT_FOUND', 'No method of any service is bound to this path.');
  }
}

function grpcRoute(exchange: Exchange, form: GrpcForm): Route {
  if (exchange.transport.method !== 'POST') {
    throw new Problem('METHOD_NOT_ALLOWED', 'gRPC calls are POST requests.', { headers: { allow: 'POST' } });
  }
  if (form === 'grpc' && exchange.transport.protocol === 'HTTP/1.1') {
    throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'gRPC needs HTTP/2; over HTTP/1.1 use gRPC-Web or JSON.');
  }
  const forms = exchange.routes.grpc.get(exchange.path);
  if (forms) return forms[form];
  throwFaultFirst(exchange);
  throw new Problem('UNIMPLEMENTED', `There is no method ${exchange.path.slice(0, 200)}.`);
}

/** Where no public route is meant, a fault of `Authorization` comes before what the path leads to. */
function throwFaultFirst(exchange: Exchange): void {
  const { authorization } = exchange.head;
  if (authorization.kind === 'faulty' && exchange.runtime.verifier) throw authorization.problem;
}

const GRPC_TYPE = /^application\/(grpc|grpc-web|grpc-web-text)(?:\+proto)?\s*(?:;|$)/;

/** By the media type: `application/grpc`, `application/grpc-web`, `application/grpc-web-text`, each with an optional `+proto`. */
function formOf(contentType: string | undefined): Exclude<Form, 'connect'> {
  if (contentType === undefined || !contentType.startsWith('application/grpc')) return 'rest';
  const form = GRPC_TYPE.exec(contentType)?.[1];
  if (form === undefined) throw new Problem('UNSUPPORTED_MEDIA_TYPE', 'Of gRPC only the encoding +proto is served.');
  return form as GrpcForm;
}

/** The form in which a refusal is told: the route's, or, when none was found yet, what the client seems to speak. */
export function answerForm({ route, head, transport }: Exchange): Form {
  if (route) return route.form;
  const { section, protocol } = transport;
  let contentType = head?.contentType;
  contentType ??= section.fields.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  const form = (GRPC_TYPE.exec(contentType ?? '')?.[1] ?? 'rest') as Form;
  return form === 'grpc' && protocol === 'HTTP/1.1' ? 'rest' : form;
}
