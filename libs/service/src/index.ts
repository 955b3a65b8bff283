export { checkAccess, readAccessRules, type Access } from './access.js';
export { currentCall, currentCaller, withCall, type Call } from './call.js';
export { asProblem, LOGGER, REFUSALS, type RefusalRecord } from './call.interceptor.js';
export type { Caller, Origin } from './caller.js';
export { outgoingMetadata } from './outgoing.js';
export { postgresReadiness } from './postgres-readiness.js';
export { runService, startService, type ServiceDefinition, type StartedService } from './service.js';
export { databaseUrl, serviceSettings } from './settings.js';
