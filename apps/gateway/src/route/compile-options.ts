import type { RouteOptions } from '@sluice/transcode';
import { messageMemory } from '@sluice/wire';
import type { UpstreamConfig } from '../config/schema.js';
import { isOAuth } from './access.js';
import { jsonOptionsOf } from '../upstream/json-options.js';

export function compileOptions(config: UpstreamConfig): RouteOptions {
  return {
    overrides: config.http.rules,
    pathPrefix: config.path_prefix,
    ignoreUnknownQuery: config.ignore_unknown_query,
    systemParameters: config.system_parameters,
    ignoreUnknownMembers: config.ignore_unknown_members,
    lenientParams: (method) => isOAuth(config, method),
    unannotated: config.unannotated,
    services: config.services,
    allocate: (octets) => messageMemory.take(octets),
    json: jsonOptionsOf(config),
    envelope: config.streams.envelope,
  };
}
