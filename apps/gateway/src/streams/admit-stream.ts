import { networkOf, refusals } from '@sluice/identity';
import type { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { respondProblem } from '../respond/respond.js';
import { OpenStream } from './open-stream.js';
import { streamsMax } from './stream-share.js';

/** Pipeline stage: is there a place for one more stream. Calls that are none pass. */
export function admitStream(exchange: Exchange): Problem | undefined {
  const { method, place, access } = exchange.route.target;
  if (method.kind === 'unary' || place.kind === 'local') return undefined;
  const { caller, head, runtime } = exchange;
  const { streams: share, channel, config } = place.upstream;
  const { auth } = runtime.config;
  // The session may have ended while limits were asked, and the configuration been read again.
  if (caller && !access.endedSessions && runtime.sessionStreams.hasEnded(caller.session)) {
    return refusals.revoked;
  }
  // Or the key, which was judged before.
  if (caller?.key && !runtime.apiKeys?.stands(caller)) return refusals.keyRevoked;
  const owner = {
    caller: caller && `${caller.tenant}/${caller.subject}`,
    address: networkOf(head.clientAddress),
  };
  const problem = share.take(owner, config.streams, streamsMax(config.streams, channel.room));
  if (problem) return problem;
  exchange.stream = new OpenStream({
    share,
    owner,
    caller,
    expiry: auth.mode === 'none' ? 'ignore' : auth.stream_expiry,
    idleMs: config.streams.idle,
    sessions: access.endedSessions ? undefined : runtime.sessionStreams,
    forwarder: { refuse: (ending) => respondProblem(exchange, ending) },
  });
  return undefined;
}
