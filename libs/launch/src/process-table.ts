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
  /** Generated secrets: each becomes a file whose path is given as `NAME_FILE`. */
  secrets: readonly string[];
  /** Processes are stopped in this order, lower first: those who call before those who are called. */
  stopRank: number;
}

/**
 * Every process that `npm start` runs. A new service is one more row.
 */
export const PROCESSES: readonly ProcessSpec[] = [
  {
    name: 'user',
    port: { setting: 'USER_PORT', usual: 50051, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'USER_ADMIN_PORT', usual: 9051, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'USER_ADDRESS',
    database: { setting: 'USER_DATABASE_URL', role: 'sluice_identity', schema: 'identity' },
    secrets: ['GATEWAY_SECRET', 'MASTER_KEY', 'ADMIN_PASSWORD'],
    stopRank: 1,
  },
  {
    name: 'allocator',
    port: { setting: 'ALLOCATOR_PORT', usual: 50052, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'ALLOCATOR_ADMIN_PORT', usual: 9052, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'ALLOCATOR_ADDRESS',
    database: { setting: 'ALLOCATOR_DATABASE_URL', role: 'sluice_budget', schema: 'budget' },
    secrets: ['GATEWAY_SECRET'],
    stopRank: 2,
  },
  {
    name: 'postcard',
    port: { setting: 'POSTCARD_PORT', usual: 50053, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'POSTCARD_ADMIN_PORT', usual: 9053, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'POSTCARD_ADDRESS',
    database: { setting: 'POSTCARD_DATABASE_URL', role: 'sluice_postcard', schema: 'postcard' },
    secrets: ['GATEWAY_SECRET'],
    stopRank: 1,
  },
  {
    name: 'gateway',
    port: { setting: 'GATEWAY_PORT', usual: 8083, hostSetting: 'GATEWAY_HOST' },
    adminPort: { setting: 'GATEWAY_ADMIN_PORT', usual: 9083, hostSetting: 'ADMIN_HOST' },
    optionalPort: {
      setting: 'GATEWAY_TLS_PORT',
      usual: 8443,
      hostSetting: 'GATEWAY_HOST',
      when: 'GATEWAY_TLS_CERT_FILE',
    },
    secrets: ['GATEWAY_SECRET'],
    stopRank: 0,
  },
];
