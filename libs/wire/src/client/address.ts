/** A place to connect to: host and port, or the path of a Unix socket. */
export interface Address {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  /** What tells addresses apart, and names them in messages. */
  readonly key: string;
}

/** One part of a target: a name to resolve, or an address already. */
export type TargetPart = Address & { readonly resolve: boolean };

/**
 * Parses `host:port`, `dns:///host:port`, `[::1]:port`, `unix:/path`, or several of these separated by commas.
 * @throws TypeError that names the part at fault.
 */
export function parseTarget(target: string): TargetPart[] {
  return target.split(',').map((text) => parsePart(text.trim()));
}

function parsePart(text: string): TargetPart {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(text);
  if (unix !== null) return { host: 'localhost', port: 0, path: unix[1]!, key: text, resolve: false };
  const match = /^(?:dns:\/\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new TypeError(
      `wire: "${text}" is not a target; expected host:port, dns:///host:port, [ipv6]:port or unix:/path`,
    );
  }
  const host = match[1] ?? match[2]!;
  return { ...addressOf(host, port), resolve: match[1] === undefined && !/^\d+\.\d+\.\d+\.\d+$/.test(host) };
}

export function addressOf(host: string, port: number): Address {
  return { host, port, key: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` };
}
