import { SessionsAndMessages1764000000001 } from './1764000000001-sessions-and-messages.js';

/** In the order in which they run. */
export const migrations = [SessionsAndMessages1764000000001];
