import { AccountsAndSessions1764000000001 } from './1-accounts-and-sessions.js';

/** In the order in which they run. */
export const migrations = [AccountsAndSessions1764000000001];
