export { prepareDatabase, withClient, type SchemaOwner } from './database.js';
export { startEmbeddedPostgres, type EmbeddedPostgres, type PostgresOptions } from './embedded-postgres.js';
export { freePort } from './free-port.js';
export { spawnTethered } from './tethered-process.js';
