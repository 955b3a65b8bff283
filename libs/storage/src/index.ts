export { openDatabase, type DatabaseOptions } from './database.js';
export { execute, statement, type Statement } from './statement.js';
export { DeadlineError, transaction, type Caller } from './transaction.js';
