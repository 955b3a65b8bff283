/**
 * Every process that `npm start` runs. A new service is one more row. Of the usual ports no two differ by a round number, so that copies
 * with round values of PORT_OFFSET stay apart.
 */
export const PROCESSES = [
  {
    name: 'user',
    port: { setting: 'USER_PORT', usual: 50051, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'USER_ADMIN_PORT', usual: 9051, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'USER_ADDRESS',
    database: { setting: 'USER_DATABASE_URL', role: 'sluice_identity', schema: 'identity' },
    secrets: ['MASTER_KEY', 'ADMIN_PASSWORD'],
    secretSettings: ['SMTP_URL'],
    stopRank: 1,
  },
  {
    name: 'allocator',
    port: { setting: 'ALLOCATOR_PORT', usual: 50052, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'ALLOCATOR_ADMIN_PORT', usual: 9052, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'ALLOCATOR_ADDRESS',
    database: { setting: 'ALLOCATOR_DATABASE_URL', role: 'sluice_budget', schema: 'budget' },
    secrets: [],
    stopRank: 2,
  },
  {
    name: 'postcard',
    port: { setting: 'POSTCARD_PORT', usual: 50053, hostSetting: 'SERVICE_HOST' },
    adminPort: { setting: 'POSTCARD_ADMIN_PORT', usual: 9053, hostSetting: 'ADMIN_HOST' },
    addressSetting: 'POSTCARD_ADDRESS',
    database: { setting: 'POSTCARD_DATABASE_URL', role: 'sluice_postcard', schema: 'postcard' },
    secrets: [],
    calls: ['allocator'],
    secretSettings: ['MODEL_API_KEY'],
    stopRank: 1,
  },
  {
    name: 'gateway',
    port: { setting: 'GATEWAY_PORT', usual: 8083, hostSetting: 'GATEWAY_HOST' },
    adminPort: { setting: 'GATEWAY_ADMIN_PORT', usual: 9084, hostSetting: 'ADMIN_HOST' },
    optionalPort: {
      setting: 'GATEWAY_TLS_PORT',
      usual: 8443,
      hostSetting: 'GATEWAY_HOST',
      when: 'GATEWAY_TLS_CERT_FILE',
    },
    secrets: ['GATEWAY_SECRET'],
    secretSettings: ['REDIS_URL', 'GATEWAY_TLS_KEY_FILE'],
    stopRank: 0,
  },
];
