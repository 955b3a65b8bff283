export { openDatabase, type DatabaseOptions } from './database.js';
export { DeadlineError, transaction, type Caller } from './transaction.js';
