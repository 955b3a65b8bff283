/** One port of a process: the setting that moves it, its usual number, and the setting that says on which address it listens. */
export interface PortSpec {
  setting: string;
  usual: number;
  hostSetting: 'GATEWAY_HOST' | 'SERVICE_HOST' | 'ADMIN_HOST';
}

export interface ProcessSpec {
  name: string;
  /** Where it serves. */
  port: PortSpec;
  /** Where it answers /livez, /readyz and /metrics. */
  adminPort: PortSpec;
  /** A port that is opened only when `when` is set. */
  optionalPort?: PortSpec & { when: string };
  /** The setting by which the other processes find it. */
  addressSetting?: string;
  /** Its corner of the database, when it has one. */
  database?: { setting: string; role: string; schema: string };
  /** Generated secrets: each becomes a file whose path is given as `NAME_FILE`. Every service gets a GATEWAY_SECRET of its own besides. */
  secrets: readonly string[];
  /** Names of the services that it calls itself: it gets `NAME_SECRET`, with which it proves itself to each. */
  calls?: readonly string[];
  /** Settings that are secret and not generated: they are handed to this process alone. */
  secretSettings?: readonly string[];
  /** Processes are stopped in this order, lower first: those who call before those who are called. */
  stopRank: number;
}

export declare const PROCESSES: readonly ProcessSpec[];
