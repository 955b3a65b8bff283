import { networkOf } from '@sluice/identity';
import type { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { OpenStream } from './open-stream.js';
import { streamsMax } from './stream-share.js';

/** Pipeline stage: is there a place for one more stream. Calls that are none pass. */
export function admitStream(exchange: Exchange): Problem | undefined {
  const { method, place } = exchange.route.target;
  if (method.kind === 'unary' || place.kind === 'local') return undefined;
  const { caller, head } = exchange;
  const { streams, channel, config } = place.upstream;
  const owner = {
    caller: caller && `${caller.tenant}/${caller.subject}`,
    address: networkOf(head.clientAddress),
  };
  const problem = streams.take(owner, config.streams, streamsMax(config.streams, channel.room));
  if (problem === undefined) exchange.stream = new OpenStream(streams, owner);
  return problem;
}
