import type { Exchange } from '../exchange.js';

/** How a Connect client writes its messages (https://connectrpc.com/docs/protocol). */
export interface ConnectType {
  readonly codec: 'json' | 'proto';
  /** Whether messages have envelopes. */
  readonly stream: boolean;
}

const TYPE = /^application\/(connect\+)?(json|proto)\s*(?:;|$)/i;

/** @returns `undefined` for a type that the protocol does not have */
export function connectType(contentType: string | undefined): ConnectType | undefined {
  const match = TYPE.exec(contentType ?? '');
  return match ? { codec: match[2]!.toLowerCase() as ConnectType['codec'], stream: match[1] !== undefined } : undefined;
}

/** Whether a request says by itself that it is of the Connect protocol. */
export function speaksConnect({ head, transport, query }: Exchange): boolean {
  return head.connect !== undefined || (transport.method === 'GET' && /(?:^|&)connect=v1(?:&|$)/.test(query));
}

/** Whether a request that no HTTP rule takes may be a call without the header of the protocol's version, as of curl. */
export function isBareConnect({ head, transport, query }: Exchange): boolean {
  if (transport.method === 'POST') return connectType(head.contentType)?.codec === 'json';
  return transport.method === 'GET' && /(?:^|&)encoding=(json|proto)(?:&|$)/.test(query);
}
