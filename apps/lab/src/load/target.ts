import { isIP } from 'node:net';
import { UsageError } from './scenario.js';

/**
 * The target's origin. A load test against somebody else's machine is an attack: anything but loopback must be named once more.
 *
 * @param owned the host that the user says is theirs to load
 * @throws UsageError for an address that is not http(s), or not loopback and not owned
 */
export function checkTarget(url: string, owned: string | undefined): { origin: string; loopback: boolean } {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw new UsageError(`--server ${url}: expected http://host:port`);
  const host = parsed.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (!loopback && owned?.toLowerCase() !== host) {
    throw new UsageError(
      `${host} is not this machine. A load test of it needs --i-own-this-target ${host}, given by someone who may decide that. ` +
        `The client addresses are said in X-Forwarded-For then: its gateway must list this machine under trusted_proxies.`,
    );
  }
  // The source addresses are of IPv4, so the target must be as well.
  if (host === 'localhost') parsed.hostname = '127.0.0.1';
  return { origin: parsed.origin, loopback };
}
