export {
  compilePolicies,
  PolicyError,
  type Algorithm,
  type CompiledPolicy,
  type Dimension,
  type Policy,
  type PolicyFault,
  type StoreLossMode,
} from './policy.js';
export { type Debit, type Ask, type DecidedBy, type Decision, type LimitStore, type Verdict } from './store.js';
export { createMemoryStore, type MemoryStore, type MemoryStoreOptions } from './memory/memory-store.js';
export { limitFields, limitProblem, refusalFields, type LimitFieldsOptions } from './answer/answer.js';
export { openRedisStore, type RedisStore, type RedisStoreOptions, type RedisStoreStats } from './redis/redis-store.js';
export { parseRedisUrl, type RedisTls, RedisUrlError } from './redis/connect.js';
export { type StoreState } from './redis/breaker.js';
