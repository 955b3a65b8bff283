import { plainAddress } from '@sluice/identity';
import { hopAddress, type TrustedProxies } from './address.js';

/** What proxies before the gateway say of a request, each list in the order it arrived, joined by commas; empty when absent. */
export interface ForwardingFields {
  /** `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`. */
  readonly for: string;
  readonly proto: string;
  readonly host: string;
  /** `Forwarded` (RFC 7239). */
  readonly forwarded: string;
}

/** Who asked, and for what, as the proxies that are trusted say. */
export interface Forwarding {
  readonly clientAddress: string;
  readonly scheme: 'http' | 'https' | undefined;
  readonly host: string | undefined;
}

/** What one proxy says of the request that it got. */
interface Hop {
  readonly for: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
}

/** Hops that are looked at; a longer chain is cut on its left. */
const HOPS_MAX = 32;

/**
 * Each proxy adds what it knows on the right, so that what stands right of an address that is not trusted was written by proxies that are. The
 * client is the socket's other end or, when that is a trusted proxy, the right-most hop that is not one; scheme and host are what was said with that hop.
 * A hop that is no address ends the search at the hop to its right.
 *
 * `Forwarded` counts where there is no `X-Forwarded-For`: a proxy that knows only the latter passes the former on as its client wrote it.
 */
export function readForwarding(peer: string, fields: ForwardingFields, trusted: TrustedProxies): Forwarding {
  let clientAddress = plainAddress(peer);
  if (!trusted(clientAddress)) return { clientAddress, scheme: undefined, host: undefined };
  const hops = fields.for === '' && fields.forwarded !== '' ? readForwarded(fields.forwarded) : ofLists(fields);
  let said: Hop | undefined;
  for (const hop of hops.slice(-HOPS_MAX).toReversed()) {
    said = hop;
    const address = hop.for === undefined ? undefined : hopAddress(hop.for);
    if (address === undefined) break;
    clientAddress = address;
    if (!trusted(address)) break;
  }
  return { clientAddress, scheme: schemeOf(said?.proto), host: said?.host };
}

function schemeOf(proto: string | undefined): 'http' | 'https' | undefined {
  const scheme = proto?.toLowerCase();
  return scheme === 'http' || scheme === 'https' ? scheme : undefined;
}

/** As many hops as addresses; where the other lists are of another length, their first values are of the client's hop, whichever that is. */
function ofLists(fields: ForwardingFields): Hop[] {
  const addresses = valuesOf(fields.for);
  const protos = valuesOf(fields.proto);
  const hosts = valuesOf(fields.host);
  if (addresses.length === 0) return [{ for: undefined, proto: protos[0], host: hosts[0] }];
  const of = (values: string[], at: number) => (values.length === addresses.length ? values[at] : values[0]);
  return addresses.map((address, at) => ({ for: address, proto: of(protos, at), host: of(hosts, at) }));
}

function valuesOf(list: string): string[] {
  return list === '' ? [] : list.split(',').map((value) => value.trim());
}

/**
 * RFC 7239 section 4:
 *
 *   Forwarded   = 1#forwarded-element
 *   forwarded-element = [ pair ] *( ";" [ pair ] )
 *   pair        = token "=" ( token / quoted-string )
 */
const PAIR = /[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?[ \t]*([;,]|$)/y;

/** From the right as far as it can be read: what stands left of a fault may be anybody's. */
function readForwarded(text: string): Hop[] {
  let hops: Hop[] = [];
  let pairs: Record<string, string> = {};
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < text.length) {
    const at = PAIR.lastIndex;
    const match = PAIR.exec(text);
    if (match === null) {
      // Begins again behind the next comma.
      const comma = text.indexOf(',', at);
      if (comma === -1) return [];
      hops = [];
      pairs = {};
      PAIR.lastIndex = comma + 1;
      continue;
    }
    const [, name, quoted, token, end] = match;
    if (name !== undefined) pairs[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? token!;
    if (end === ';') continue;
    hops.push(hopOf(pairs));
    pairs = {};
  }
  if (Object.keys(pairs).length > 0) hops.push(hopOf(pairs));
  return hops;
}

function hopOf(pairs: Readonly<Record<string, string>>): Hop {
  return { for: pairs['for'], proto: pairs['proto'], host: pairs['host'] };
}
