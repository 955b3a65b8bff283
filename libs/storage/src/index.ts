export { openDatabase, type DatabaseOptions } from './database.js';
export { execute, statement, type Statement } from './statement.js';
export { DeadlineError, type Caller } from './caller.js';
export { takeLock, tryLock } from './lock.js';
export { transaction } from './transaction.js';
export { clientClass, parseAddress, type DatabaseAddress } from './hosts.js';
export { probe } from './probe.js';
export { isConnectionFailure, noteTrouble, unavailable } from './unavailable.js';
