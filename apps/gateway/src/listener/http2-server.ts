import { type Endings, Http2Server, type Http2ServerCounters } from '@sluice/wire';
import type { Transport } from '../exchange.js';
import { Http2Transport } from './http2.js';
import type { LimitHit, ListenerOptions, ProtocolServer } from './options.js';

/** HTTP/2 (RFC 9113) by our own server. */
export function http2Server(
  options: ListenerOptions,
  handle: (transport: Transport) => void,
): ProtocolServer & { readonly endings: Endings } {
  const { timeouts, sizes, http2 } = options.limits;
  const inPeriod = (burst: number) => ({ burst, perSecond: (burst * 1000) / http2.period });
  const server = new Http2Server((stream) => handle(new Http2Transport(stream)), {
    maxConcurrentStreams: http2.max_streams,
    maxHeaderListBytes: sizes.header_list,
    // Preflight counts the fields that fit in the list, and answers in words.
    maxHeaderCount: Number.MAX_SAFE_INTEGER,
    prefaceTimeoutMs: timeouts.headers,
    settingsTimeoutMs: timeouts.settings,
    headersTimeoutMs: timeouts.headers,
    bodyTimeoutMs: timeouts.request,
    writeTimeoutMs: timeouts.send,
    leastWriteRate: sizes.min_send_rate,
    idleTimeoutMs: timeouts.idle,
    resets: inPeriod(http2.max_resets),
    pings: inPeriod(http2.max_pings),
    settings: inPeriod(http2.max_settings),
  });
  if (options.onSettingsAck) server.onSettingsAck = options.onSettingsAck;
  return {
    endings: server.endings,
    accept(socket, seen, client) {
      const connection = server.accept(socket, seen, client);
      client.idle = () => connection.idle;
      client.closeIdle = client.shed = () => {
        connection.shed();
        socket.destroySoon();
      };
    },
    drain: () => void server.close(NEVER_MS),
    closeIdle: () => undefined,
    stop: () => void server.close(0),
    hits: (limit) => hitCounters[limit].reduce((sum, name) => sum + server.counters[name], 0),
  };
}

/** The listener itself says when its grace is over. */
const NEVER_MS = 2 ** 31 - 1;

/** What the server counts, by the limits that operators know. */
const hitCounters: Readonly<Record<LimitHit, readonly (keyof Http2ServerCounters)[]>> = {
  connections: [],
  address_connections: [],
  shed_idle: [],
  proxy_header: [],
  first_byte_timeout: ['prefaceTimeouts'],
  headers_timeout: ['headersTimeouts'],
  request_timeout: ['bodyTimeouts'],
  settings_timeout: ['settingsTimeouts'],
  idle: ['idleTimeouts'],
  slow_reader: ['writeTimeouts', 'unreadAnswers'],
  headers_too_large: ['headersTooLarge'],
  client_error: ['malformed', 'connectionErrors'],
  flood: [
    'resetFloods',
    'errorFloods',
    'pingFloods',
    'settingsFloods',
    'emptyDataFloods',
    'windowUpdateFloods',
    'idleFrameFloods',
    'continuationFloods',
  ],
};
