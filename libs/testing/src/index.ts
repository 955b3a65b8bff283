export { freePort, NODE_ARGUMENTS } from '@sluice/launch';
export { openFolder, removeData, startPostgres, TEST_SETTINGS, type TestPostgres } from './postgres.js';
export { redisMissing, startRedis, type TestRedis } from './redis.js';
export { startSystem, type TestSystem, type TestSystemOptions } from './system.js';
export { contest, contestTable, cpuMicroseconds, type Contestant, type ContestResult } from './contest.js';
export { laterTrend, resident, trendInWords, type Resident, type Sample, type Trend } from './resident.js';
export { httpLoad, type HttpLoad } from './http-load.js';
export { leaksIn, leaksInText, noteSecrets } from './log-scan.js';
