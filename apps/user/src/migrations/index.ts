import { AccountsAndSessions1764000000001 } from './1-accounts-and-sessions.js';
import { GuestsAndAudit1764000000002 } from './2-guests-and-audit.js';

/** In the order in which they run. */
export const migrations = [AccountsAndSessions1764000000001, GuestsAndAudit1764000000002];
