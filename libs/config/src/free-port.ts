import { holderOf, isPortFree } from '../port-holder.mjs';
import { ConfigurationError } from './settings.js';

export { holderOf, isPortFree };

/**
 * Makes sure before a start that a port can be listened on.
 *
 * @param setting which moves it
 * @throws ConfigurationError that names the setting and who holds the port
 */
export async function requireFreePort(setting: string, host: string, port: number): Promise<void> {
  if (port === 0 || (await isPortFree(port, host))) return;
  throw new ConfigurationError([
    `${setting}=${port}: expected a free port of ${host}; this one is taken${holderOf(port).holder}`,
  ]);
}
