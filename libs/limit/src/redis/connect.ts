import { Cluster, Redis, type RedisOptions } from 'ioredis';

/** A connection that the Redis store can use. */
export type RedisClient = Redis | Cluster;

/** The URL of a Redis cannot be read. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError';
}

interface RedisAddress {
  readonly kind: 'standalone' | 'sentinel' | 'cluster';
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Sentinel's name for the master. */
  readonly master: string;
  readonly options: Pick<RedisOptions, 'username' | 'password' | 'db' | 'tls'>;
}

const FORMS =
  'redis://host:port/db, redis+sentinel://host:port,host:port/master-name or redis+cluster://host:port,host:port, each also as rediss and with user:password@';

/**
 * Reads the three forms of a Redis URL: `redis://host:port/db`, `redis+sentinel://host,host/master`,
 * `redis+cluster://host,host`; `rediss` for TLS.
 *
 * @throws RedisUrlError; the message does not repeat the URL, which may hold a password
 */
export function parseRedisUrl(url: string): RedisAddress {
  const match = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?]+)(?:\/([^/?]*))?$/.exec(url);
  if (match === null) throw new RedisUrlError(`expected ${FORMS}`);
  const [, scheme, form, account = '', hostList = '', path = ''] = match;
  const kind = form === 'sentinel' || form === 'cluster' ? form : 'standalone';
  const hosts = hostList.split(',').map((text) => parseHost(text, kind === 'sentinel' ? 26_379 : 6379));
  if (kind === 'standalone' && hosts.length > 1) throw new RedisUrlError(`several hosts: expected ${FORMS}`);
  if (kind === 'sentinel' && path === '') throw new RedisUrlError("no master's name after the hosts of the sentinels");
  if (kind === 'standalone' && !/^\d*$/.test(path)) throw new RedisUrlError('expected a number of a database');
  const colon = account.indexOf(':');
  const username = decodeURIComponent(colon < 0 ? '' : account.slice(0, colon));
  const password = decodeURIComponent(account.slice(colon + 1));
  return {
    kind,
    hosts,
    master: kind === 'sentinel' ? path : '',
    options: {
      ...(username !== '' && { username }),
      ...(password !== '' && { password }),
      ...(kind === 'standalone' && path !== '' && { db: Number(path) }),
      ...(scheme === 'rediss' && { tls: {} }),
    },
  };
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  if (match?.[1] === undefined || port < 1 || port > 65_535) throw new RedisUrlError(`expected ${FORMS}`);
  return { host: match[1].replace(/^\[|\]$/g, ''), port };
}

/** Contents of PEM files. */
export interface RedisTls {
  /** What the server's certificate is checked by; what the system trusts when absent. */
  readonly ca?: Buffer | undefined;
  /** A certificate of ours, and its key. */
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
}

/**
 * A client that fails fast: nothing waits for a connection, nothing is sent twice, and it reconnects without a storm.
 *
 * @throws RedisUrlError also for certificates beside a URL without TLS
 */
export function connectRedis(url: string, tls: RedisTls = {}): RedisClient {
  const { kind, hosts, master, options } = parseRedisUrl(url);
  const given = Object.fromEntries(Object.entries(tls).filter(([, pem]) => pem !== undefined));
  if (Object.keys(given).length > 0 && !options.tls) {
    throw new RedisUrlError('expected rediss in place of redis: a certificate is set, and redis is without TLS');
  }
  const common: RedisOptions = {
    ...options,
    ...(options.tls && { tls: { ...options.tls, ...given } }),
    connectionName: 'sluice-limit',
    connectTimeout: 1_000,
    // A peer that vanished without closing is found out by silence.
    socketTimeout: 5_000,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // After a fail-over the old master is a replica: find the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: reconnectDelay,
  };
  if (kind === 'cluster') {
    const { retryStrategy, enableOfflineQueue, ...redisOptions } = common;
    return new Cluster([...hosts], {
      redisOptions,
      enableOfflineQueue: enableOfflineQueue ?? false,
      clusterRetryStrategy: retryStrategy,
      retryDelayOnClusterDown: 20,
      retryDelayOnFailover: 20,
      slotsRefreshTimeout: 1_000,
      slotsRefreshInterval: 5_000,
    });
  }
  if (kind === 'sentinel') {
    return new Redis({
      ...common,
      sentinels: [...hosts],
      name: master,
      sentinelRetryStrategy: reconnectDelay,
      ...(common.tls !== undefined && { enableTLSForSentinelMode: true, sentinelTLS: common.tls }),
    });
  }
  return new Redis({ ...common, ...hosts[0] });
}

/** 50 ms at first, doubling to a second, each up to half longer so that replicas do not return together. */
function reconnectDelay(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt - 1, 10), 1_000) * (1 + Math.random() / 2);
}
