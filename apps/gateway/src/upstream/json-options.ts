import type { JsonOptions } from '@sluice/transcode';
import type { UpstreamConfig } from '../config/schema.js';

/** How the upstream's messages print. */
export function jsonOptionsOf({ json }: UpstreamConfig): JsonOptions {
  return { printDefaults: json.print_defaults, enumNumbers: json.enum_numbers, protoNames: json.proto_names };
}
