import type { GatewayConfig } from '../config/schema.js';
import type { MethodInfo } from '@sluice/transcode';
import type { ServedUpstream } from '../route/build-routes.js';
import { healthService, type Serving } from './grpc-health.js';
import { type OwnGrpcMethod, ownSchema } from './own-services.js';
import { type ReflectedServices, reflectionService } from './reflection.js';

/** The gRPC methods that the gateway itself serves, as the configuration says. */
export function ownGrpcMethods(
  config: GatewayConfig['grpc'],
  site: readonly ServedUpstream[],
  serving: Omit<Serving, 'upstreamOf' | 'names'>,
): OwnGrpcMethod[] {
  const served = site.map(({ upstream, methods }) => ({ upstream, services: servicesOf(methods) }));
  const upstreamOf = new Map(
    served.flatMap(({ upstream, services }) => services.map((service) => [service, upstream.name] as const)),
  );
  const names = new Set(served.map(({ upstream }) => upstream.name));
  const methods = config.health ? healthService({ ...serving, upstreamOf, names }) : [];
  if (config.reflection) {
    const own = [...ownSchema.registry.files].flatMap((file) => file.services.map(({ typeName }) => typeName));
    const shown = own.filter((name) => !upstreamOf.has(name) && (config.health || !name.startsWith('grpc.health.')));
    const reflected: ReflectedServices[] = served.map(({ upstream: { schema }, services }) => ({ schema, services }));
    methods.push(...reflectionService([...reflected, { schema: ownSchema, services: shown }]));
  }
  return methods;
}

function servicesOf(methods: readonly MethodInfo[]): string[] {
  return [...new Set(methods.map((method) => method.service))];
}
