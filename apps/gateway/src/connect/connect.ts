import { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { forwardConnectStream } from './stream.js';
import { forwardConnectUnary } from './unary.js';

/**
 * The Connect protocol (https://connectrpc.com/docs/protocol), for the methods that gRPC reaches, by the same paths.
 * @throws Problem
 */
export function forwardConnect(exchange: Exchange): void {
  const { head, route } = exchange;
  const { method, place } = route.target;
  const { version } = head.connect ?? {};
  if (version !== undefined && version !== '1') {
    throw new Problem('INVALID_ARGUMENT', 'connect-protocol-version: expected 1.');
  }
  if (place.kind === 'local') throw new Problem('UNIMPLEMENTED', 'The gateway serves this method over gRPC only.');
  if (method.kind === 'unary') forwardConnectUnary(exchange, place);
  else forwardConnectStream(exchange, place);
}
