import { isDeepStrictEqual } from 'node:util';
import { gatewaySecretFor } from '@sluice/config';
import type { Expose, Json, StatusDetail } from '@sluice/problem';
import type { MethodInfo } from '@sluice/transcode';
import { Channel, type ChannelOptions, type Field, type MethodHandle } from '@sluice/wire';
import type { LoadedUpstream } from '../config/loaded.js';
import type { UpstreamConfig } from '../config/schema.js';
import { bySelector } from '../route/access.js';
import { StreamShare } from '../streams/stream-share.js';
import { type PassedMetadata, passedMetadata } from './answer-fields.js';
import { jsonOptionsOf } from './json-options.js';
import { detailPrinter } from './status-details.js';

/** A gRPC service behind the gateway. */
export interface Upstream extends LoadedUpstream {
  readonly name: string;
  /** Stays the same over a reload that leaves {@link channelOptions} and the address as they are. */
  readonly channel: Channel;
  readonly channelOptions: ChannelOptions;
  /** The streams that are open to it. */
  readonly streams: StreamShare;
  /** Proves the gateway to this service; undefined where it is not trusted or there is no secret. */
  readonly secretField: Field | undefined;
  /** Whether the client's `Authorization` goes on to it. */
  readonly forwardsAuthorization: boolean;
  readonly passed: PassedMetadata;
  /** How much of its failures clients see, by how they speak to it. */
  readonly expose: { readonly rest: Expose; readonly grpc: Expose };
  /** The JSON of a detail of its statuses. */
  printDetail(detail: StatusDetail): Json;
}

/**
 * Makes the channel; nothing is connected before the first call.
 *
 * @param before the upstream of this name in the configuration that this one replaces, whose streams go on
 * @param secret GATEWAY_SECRET, from which that of each service is derived
 */
export function createUpstream(
  loaded: LoadedUpstream,
  authenticates: boolean,
  before: Upstream | undefined,
  secret: string | undefined,
): Upstream {
  const { config, schema } = loaded;
  const options = channelOptions(loaded);
  return {
    ...loaded,
    name: config.name,
    channel: keptChannel(before, config.address, options) ?? new Channel(config.address, options),
    channelOptions: options,
    streams: before?.streams ?? new StreamShare(),
    secretField: secret === undefined ? undefined : secretField(config, secret),
    forwardsAuthorization: config.forward_authorization ?? !authenticates,
    passed: passedMetadata(config.response_headers),
    expose: { rest: config.errors.expose ?? 'codes', grpc: config.errors.expose ?? 'all' },
    printDetail: detailPrinter(schema, jsonOptionsOf(config)),
  };
}

function secretField({ name, trusted }: UpstreamConfig, secret: string): Field | undefined {
  if (trusted === false) return undefined;
  return ['x-sluice-gateway-secret', gatewaySecretFor(trusted === true ? name : trusted, secret)];
}

/** What runs over a channel that the configuration has not changed is none of a reload's business. */
function keptChannel(before: Upstream | undefined, address: string, options: ChannelOptions): Channel | undefined {
  const kept = before?.config.address === address && isDeepStrictEqual(before.channelOptions, options);
  return kept ? before.channel : undefined;
}

/** Answers that wait for memory hold as much each; more would make a fast service hardly faster. */
const STREAM_WINDOW_OCTETS = 65_536;

function channelOptions({ config, pem }: LoadedUpstream): ChannelOptions {
  const { tls } = config;
  return {
    tls: typeof tls === 'boolean' ? tls : { ...pem, servername: tls.servername },
    connectionsPerAddress: config.connections,
    concurrency: config.concurrency,
    maxConcurrent: config.max_concurrent,
    maxWaitMs: config.max_wait ?? 'patience',
    maxQueued: config.max_queued,
    maxMessageBytes: config.max_message,
    streamWindowBytes: STREAM_WINDOW_OCTETS,
  };
}

/** How long a call of the method may take when the client does not say, in milliseconds. */
export function timeoutOf(config: UpstreamConfig, method: MethodInfo): number {
  const selected = bySelector(Object.entries(config.timeouts), method);
  return selected ?? (method.kind === 'unary' ? config.timeout : config.stream_timeout);
}

export type { MethodHandle };
