/**
 * The ports of `npm start` for an environment. Plain JavaScript that needs nothing but Node 20, so that a wrong or taken port is told
 * before anything is installed or built.
 */
import { holderOf, isPortFree } from '../config/port-holder.mjs';

const PORT_MAX = 65_535;

/**
 * The ports of the first of each process, moved together by `PORT_OFFSET`, and everything that is wrong with them.
 *
 * @param table rows of process-table.mjs
 */
export function fixedPorts(table, environment) {
  const faults = [];
  const specs = table.flatMap(({ port, adminPort, optionalPort }) => [
    port,
    adminPort,
    ...(optionalPort ? [optionalPort] : []),
  ]);
  const most = PORT_MAX - Math.max(...specs.map(({ usual }) => usual));
  const offset = readPort(environment, 'PORT_OFFSET', 0, most, faults);
  const ports = specs
    .filter(({ when }) => when === undefined || environment[when])
    .map(({ setting, usual, hostSetting }) => ({
      setting,
      host: environment[hostSetting] || '127.0.0.1',
      port: readPort(environment, setting, usual + offset, PORT_MAX, faults),
    }));
  const seen = new Map();
  for (const { setting, port } of ports) {
    const other = seen.get(port);
    if (other !== undefined && port !== 0)
      faults.push(`${other} and ${setting} are both ${port}: expected different ports`);
    seen.set(port, setting);
  }
  return { ports, faults };
}

/** A number from the environment; the usual one when it is wrong, of which is told. */
export function readPort(environment, setting, usual, most, faults) {
  const text = environment[setting];
  if (text === undefined || text === '') return usual;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value <= most) return value;
  faults.push(`${setting}="${text}": expected a whole number from 0 to ${most}`);
  return usual;
}

/** The ports that something else holds: each with the setting that moves it, and the holder when it can be known. */
export async function describeTakenPorts(ports) {
  const taken = [];
  for (const { setting, host, port } of ports) {
    if (await isPortFree(port, host)) continue;
    const { holder, passing } = holderOf(port);
    taken.push({ line: `port ${port} (${setting}) is taken${holder}`, passing });
  }
  return taken;
}

/** What to do about taken ports, below their lines. */
export function takenText(taken) {
  const it = taken.length === 1 ? 'it' : 'them';
  return `${taken.map(({ line }) => line).join('\n')}\nStop what holds ${it}, set the named setting to another port, or move all ports together, for example by PORT_OFFSET=100.`;
}
