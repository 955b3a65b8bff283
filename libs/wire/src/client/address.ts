import { isIPv4, isIPv6 } from 'node:net';

/** A place to connect to: host and port, or the path of a Unix socket. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  /** The host as the target has it, before it was resolved: the certificate is checked against it. */
  readonly name: string;
  /** What tells addresses apart, and names them in messages. */
  readonly key: string;
}

/** One part of a target: a name to resolve, or an address already. */
export type TargetPart = Address & { readonly resolve: boolean };

/** Text that is no target. */
export class TargetError extends TypeError {
  override readonly name = 'TargetError';

  constructor(
    /** The part at fault. */
    readonly part: string,
    readonly expected: string,
  ) {
    super(`${JSON.stringify(part)} is no address: expected ${expected}`);
  }
}

const FORMS = 'host:port, grpc://host:port, http://host:port, dns:///host:port, [ipv6]:port or unix:/path';

/**
 * Parses `host:port`, the same after `grpc://`, `http://` or `dns:///`, `[::1]:port`, `unix:/path`, or several of these separated
 * by commas.
 * @throws TargetError that names the first part at fault
 */
export function parseTarget(target: string): TargetPart[] {
  return target.split(',').map((text) => parsePart(text.trim()));
}

function parsePart(text: string): TargetPart {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(text);
  if (unix !== null) return { ...addressOf('localhost', 0), path: unix[1]!, key: text, resolve: false };
  const rest = text.replace(/^(?:grpc:\/\/|http:\/\/|dns:\/\/\/)/i, '').replace(/(:\d+)\/$/, '$1');
  if (/^(?:https|grpcs):\/\//i.test(rest)) {
    throw new TargetError(text, `${rest.replace(/^\w+/, 'grpc')}, and tls: true as a setting of its own`);
  }
  if (isIPv6(rest)) throw new TargetError(text, `[${rest}]:port`);
  const [, host, port] = /^(\[[^\]]*\]|[^:/[\]\s]*)(?::([^:/]*))?$/.exec(rest) ?? [];
  const ipv6 = host?.startsWith('[') ? host.slice(1, -1) : undefined;
  const isNumbers = host !== undefined && /^[\d.]+$/.test(host);
  const isHost = ipv6 === undefined ? (isNumbers ? isIPv4(host) : HOST.test(host ?? '')) : isIPv6(ipv6);
  if (!isHost) throw new TargetError(text, FORMS);
  if (port === undefined) throw new TargetError(text, `a port after the host, as in ${host}:50051`);
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (number < 1 || number > 65_535) throw new TargetError(text, `a port from 1 to 65535 after ${host}`);
  return { ...addressOf(ipv6 ?? host!, number), resolve: ipv6 === undefined && !isNumbers };
}

/** A name as resolvers take it. */
const HOST = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/;

export function addressOf(host: string, port: number, name = host): Address {
  return { host, name, port, key: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` };
}
