import type { WatchedService } from './monitor.js';

/** Of `npm start`, where nothing moves it. */
export const GATEWAY_PORT = 8083;

/**
 * Where `npm start` puts the metrics of its processes: PORT_OFFSET moves all ports as it moves the gateway's.
 *
 * @param gateway its origin, on this machine
 */
export function localServices(gateway: string): WatchedService[] {
  const offset = Number(new URL(gateway).port) - GATEWAY_PORT;
  const ports = { gateway: 9084, user: 9051, allocator: 9052, postcard: 9053 };
  return Object.entries(ports).map(([name, usual]) => {
    const port = process.env[`${name.toUpperCase()}_ADMIN_PORT`] || usual + offset;
    return { name, url: `http://127.0.0.1:${port}/metrics` };
  });
}
