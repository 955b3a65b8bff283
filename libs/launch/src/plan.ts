import { type Environment, fixedPorts, type PlannedPort } from '../ports.mjs';
import type { PortSpec, ProcessSpec } from '../process-table.mjs';

/** One process about to be started: a row of the table with its numbers filled in. */
export interface Instance {
  /** The row's name, and `-2`, `-3`… for further replicas. */
  name: string;
  spec: ProcessSpec;
  ports: readonly PlannedPort[];
  address: string;
  adminUrl: string;
  /** The settings of its own, on top of the environment and `Plan.shared`. */
  env: Record<string, string>;
}

export interface Plan {
  instances: readonly Instance[];
  /** Settings that every process gets: where the others are. */
  shared: Record<string, string>;
  /** The gateway's base address, as a client on this machine would write it. */
  gatewayUrl: string;
}

/** A setting of the start itself that cannot be used. */
export class PlanError extends Error {
  override readonly name = 'PlanError';
}

/** Gives the further replicas of a process their ports. */
export type PortSource = () => Promise<number>;

/**
 * Fills the process table in from the environment: ports (moved together by `PORT_OFFSET`), addresses, replicas.
 *
 * @param replicas how many of each process, 1 where not named; replicas after the first take their ports from `freePort`
 * @throws PlanError for a port that is no number, or that two settings share
 */
export async function plan(
  table: readonly ProcessSpec[],
  environment: Environment,
  replicas: Readonly<Record<string, number>>,
  freePort: PortSource,
): Promise<Plan> {
  const { ports: fixedOnes, faults } = fixedPorts(table, environment);
  if (faults.length > 0) throw new PlanError(faults.join('\n'));
  const numbers = new Map(fixedOnes.map(({ setting, port }) => [setting, port]));
  const instances: Instance[] = [];
  const shared: Record<string, string> = {};
  for (const spec of table) {
    const own: Instance[] = [];
    for (let replica = 1; replica <= (replicas[spec.name] ?? 1); replica++) {
      const fixed = replica === 1;
      const at = async (port: PortSpec): Promise<PlannedPort> => ({
        setting: port.setting,
        host: environment[port.hostSetting] || '127.0.0.1',
        port: fixed ? numbers.get(port.setting)! : await freePort(),
      });
      const specs = [spec.port, spec.adminPort];
      if (fixed && spec.optionalPort !== undefined && environment[spec.optionalPort.when])
        specs.push(spec.optionalPort);
      const ports = await Promise.all(specs.map(at));
      const [serving, admin] = ports as [PlannedPort, PlannedPort];
      own.push({
        name: fixed ? spec.name : `${spec.name}-${replica}`,
        spec,
        ports,
        address: `${reachable(serving.host)}:${serving.port}`,
        adminUrl: `http://${reachable(admin.host)}:${admin.port}`,
        env: Object.fromEntries(ports.map(({ setting, port }) => [setting, String(port)])),
      });
    }
    if (spec.addressSetting !== undefined && !environment[spec.addressSetting]) {
      shared[spec.addressSetting] = own.map(({ address }) => address).join(',');
    }
    instances.push(...own);
  }
  const gateway = instances.find(({ name }) => name === 'gateway');
  return { instances, shared, gatewayUrl: gateway === undefined ? '' : `http://${gateway.address}` };
}

/** An address to connect to, for one to listen on. */
function reachable(host: string): string {
  const everywhere = host === '0.0.0.0' || host === '::';
  if (everywhere) return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
