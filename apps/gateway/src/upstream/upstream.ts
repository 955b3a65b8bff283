import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ConfigurationError } from '@sluice/config';
import type { Expose, Json, StatusDetail } from '@sluice/problem';
import { type JsonOptions, loadSchema, type MethodInfo, type Schema } from '@sluice/transcode';
import { Channel, type ChannelOptions, type MethodHandle } from '@sluice/wire';
import type { UpstreamConfig } from '../config/schema.js';
import { bySelector } from '../route/access.js';
import { StreamShare } from '../streams/stream-share.js';
import { type PassedMetadata, passedMetadata } from './answer-fields.js';
import { detailPrinter } from './status-details.js';

/** A gRPC service behind the gateway. */
export interface Upstream {
  readonly name: string;
  readonly config: UpstreamConfig;
  readonly schema: Schema;
  /** Stays the same over a reload that leaves {@link channelOptions} and the address as they are. */
  readonly channel: Channel;
  readonly channelOptions: ChannelOptions;
  /** Of the descriptor set. */
  readonly digest: string;
  /** What was read: the descriptor set and PEM files. */
  readonly files: readonly string[];
  /** The streams that are open to it. */
  readonly streams: StreamShare;
  /** Whether the client's `Authorization` goes on to it. */
  readonly forwardsAuthorization: boolean;
  readonly passed: PassedMetadata;
  /** How much of its failures clients see, by how they speak to it. */
  readonly expose: { readonly rest: Expose; readonly grpc: Expose };
  /** The JSON of a detail of its statuses. */
  printDetail(detail: StatusDetail): Json;
}

/**
 * Reads the descriptor set and makes the channel; nothing is connected before the first call.
 *
 * @param configFile what `descriptor_set` and PEM files are relative to
 * @param before the upstream of this name in the configuration that this one replaces, whose streams go on
 * @throws ConfigurationError when a file cannot be used
 */
export function createUpstream(
  config: UpstreamConfig,
  configFile: string,
  authenticates: boolean,
  before: Upstream | undefined,
): Upstream {
  const file = resolve(dirname(configFile), config.descriptor_set);
  const set = readBytes(config, 'descriptor_set', file);
  const schema = loadSchema(set, file);
  const unknown = config.services?.filter((service) => !schema.registry.getService(service)) ?? [];
  if (unknown.length > 0) {
    throw new ConfigurationError([
      `upstreams.${config.name}.services: ${unknown.join(', ')}: expected services of ${file}`,
    ]);
  }
  const options = channelOptions(config, configFile);
  return {
    name: config.name,
    config,
    schema,
    channel: keptChannel(before, config.address, options) ?? new Channel(config.address, options),
    channelOptions: options,
    files: [file, ...pemFiles(config, configFile)],
    digest: createHash('sha256').update(set).digest('hex'),
    streams: before?.streams ?? new StreamShare(),
    forwardsAuthorization: config.forward_authorization ?? !authenticates,
    passed: passedMetadata(config.response_headers),
    expose: { rest: config.errors.expose ?? 'codes', grpc: config.errors.expose ?? 'all' },
    printDetail: detailPrinter(schema, jsonOptionsOf(config)),
  };
}

/** What runs over a channel that the configuration has not changed is none of a reload's business. */
function keptChannel(before: Upstream | undefined, address: string, options: ChannelOptions): Channel | undefined {
  const kept = before?.config.address === address && isDeepStrictEqual(before.channelOptions, options);
  return kept ? before.channel : undefined;
}

/** How the upstream's messages print. */
export function jsonOptionsOf({ json }: UpstreamConfig): JsonOptions {
  return { printDefaults: json.print_defaults, enumNumbers: json.enum_numbers, protoNames: json.proto_names };
}

function pemFiles({ tls }: UpstreamConfig, configFile: string): string[] {
  if (typeof tls === 'boolean') return [];
  return [tls.ca, tls.cert, tls.key]
    .filter((file) => file !== undefined)
    .map((file) => resolve(dirname(configFile), file));
}

function channelOptions(config: UpstreamConfig, configFile: string): ChannelOptions {
  const { tls } = config;
  const pem = (key: string, file: string | undefined) =>
    file === undefined ? undefined : readBytes(config, `tls.${key}`, resolve(dirname(configFile), file));
  return {
    tls:
      typeof tls === 'boolean'
        ? tls
        : { ca: pem('ca', tls.ca), cert: pem('cert', tls.cert), key: pem('key', tls.key), servername: tls.servername },
    connectionsPerAddress: config.connections,
    maxConcurrent: config.max_concurrent,
    maxQueued: config.max_queued,
    maxMessageBytes: config.max_message,
  };
}

function readBytes(config: UpstreamConfig, key: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigurationError([
      `upstreams.${config.name}.${key}: ${file}: expected a file (${(error as Error).message})`,
    ]);
  }
}

/** The methods that the configuration makes callable. */
export function servedMethods(upstream: Upstream): MethodInfo[] {
  const { services } = upstream.config;
  return [...upstream.schema.methods.values()].filter((method) => !services || services.includes(method.service));
}

/** How long a call of the method may take when the client does not say, in milliseconds. */
export function timeoutOf(config: UpstreamConfig, method: MethodInfo): number {
  const selected = bySelector(Object.entries(config.timeouts), method);
  return selected ?? (method.kind === 'unary' ? config.timeout : config.stream_timeout);
}

export type { MethodHandle };
