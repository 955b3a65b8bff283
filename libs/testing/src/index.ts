export { freePort } from '@sluice/launch';
export { startPostgres, type TestPostgres } from './postgres.js';
export { redisMissing, startRedis, type TestRedis } from './redis.js';
export { startSystem, type TestSystem, type TestSystemOptions } from './system.js';
export { contest, contestTable, cpuMicroseconds, type Contestant, type ContestResult } from './contest.js';
export { httpLoad, type HttpLoad } from './http-load.js';
