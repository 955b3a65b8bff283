import { Problem } from '@sluice/problem';
import { type Binding, type MethodInfo, methodOption, RouteTable, SchemaError } from '@sluice/transcode';
import type { LocalMethod } from '../local/local.js';
import type { OwnGrpcMethod } from '../local/own-services.js';
import { timeoutOf, type Upstream } from '../upstream/upstream.js';
import { type Access, ACCESS_OPTION, accessOf, bySelector, everyone, isOAuth } from './access.js';
import { textField } from '../tenant/message-field.js';
import { ownBindings } from './own-bindings.js';
import type { Form, Route, Routes, Target } from './route.js';

const LOCAL_TIMEOUT_MS = 5000;
const LOCAL_STREAM_TIMEOUT_MS = 600_000;
const LOCAL_BODY_OCTETS = 65_536;

/** An upstream, and what of it some hosts get. */
export interface ServedUpstream {
  readonly upstream: Upstream;
  readonly methods: readonly MethodInfo[];
  readonly bindings: readonly Binding[];
}

/**
 * The routes to upstreams, and the gateway's own.
 *
 * @param site no two of them serve one method or one path
 * @param local the gateway's own methods by name
 * @param ownGrpc the gateway's own gRPC methods; those that an upstream has are the upstream's
 * @param bodyMax octets of a body, for methods of which the configuration says nothing else
 */
export function buildRoutes(
  site: readonly ServedUpstream[],
  local: Readonly<Record<string, LocalMethod>>,
  authenticates: boolean,
  bodyMax: number,
  ownGrpc: readonly OwnGrpcMethod[],
): Routes {
  const rest = new RouteTable<Route>();
  const grpc = new Map<string, Record<Exclude<Form, 'rest'>, Route>>();
  for (const { upstream, methods, bindings } of site) {
    const targets = targetsOf(upstream, methods, authenticates, bodyMax);
    for (const [path, target] of targets) {
      grpc.set(path, grpcForms(target));
    }
    for (const binding of bindings) {
      const target = targets.get(binding.method.path);
      const oauthErrors = isOAuth(upstream.config, binding.method);
      if (target) rest.add(binding, { form: 'rest', target, binding, oauthErrors });
    }
  }
  for (const { method, open } of ownGrpc) {
    if (grpc.has(method.path)) continue;
    const timeoutMs = method.kind === 'unary' ? LOCAL_TIMEOUT_MS : LOCAL_STREAM_TIMEOUT_MS;
    const place = { kind: 'local' as const, serve: overGrpcOnly, open };
    grpc.set(
      method.path,
      grpcForms({ method, access: everyone, timeoutMs, bodyMax: LOCAL_BODY_OCTETS, tenantField: undefined, place }),
    );
  }
  addLocalRoutes(rest, local, authenticates, bodyMax);
  return { rest, grpc };
}

function grpcForms(target: Target): Record<Exclude<Form, 'rest'>, Route> {
  const of = (form: Form): Route => ({ form, target, binding: undefined });
  return {
    grpc: of('grpc'),
    'grpc-web': of('grpc-web'),
    'grpc-web-text': of('grpc-web-text'),
    connect: of('connect'),
  };
}

const overGrpcOnly: LocalMethod = () => {
  throw new Problem('UNIMPLEMENTED', 'The gateway serves this method over gRPC only.');
};

function targetsOf(
  upstream: Upstream,
  methods: readonly MethodInfo[],
  authenticates: boolean,
  bodyMax: number,
): Map<string, Target> {
  const { config, schema, channel } = upstream;
  return new Map(
    methods.map((method) => {
      const option = methodOption(schema, method, ACCESS_OPTION);
      const access = accessOf(method, config.access, option, authenticates);
      const idempotent = method.idempotency !== 'unknown';
      const place = { kind: 'upstream' as const, upstream, handle: channel.method(method.path), idempotent };
      const most = bySelector(Object.entries(config.max_body), method) ?? bodyMax;
      const tenantField = tenantFieldOf(method, access);
      const timeoutMs = timeoutOf(config, method);
      return [method.path, { method, access, timeoutMs, bodyMax: most, tenantField, place }];
    }),
  );
}

/** A caller that is signed in has the token's tenant, whatever a method's message means by the word. */
function tenantFieldOf(method: MethodInfo, access: Access): number | undefined {
  return access.public && method.kind === 'unary' ? textField(method.desc.input, 'tenant') : undefined;
}

/** The gateway's own methods. Where an upstream has a rule for the same path, the upstream's counts. */
function addLocalRoutes(
  rest: RouteTable<Route>,
  local: Readonly<Record<string, LocalMethod>>,
  authenticates: boolean,
  bodyMax: number,
): void {
  for (const { binding, access } of ownBindings(authenticates)) {
    const { method } = binding;
    const place = { kind: 'local' as const, serve: local[method.name]! };
    const target: Target = {
      method,
      access,
      timeoutMs: LOCAL_TIMEOUT_MS,
      bodyMax: Math.min(bodyMax, LOCAL_BODY_OCTETS),
      tenantField: undefined,
      place,
    };
    try {
      rest.add(binding, { form: 'rest', target, binding });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
  }
}
