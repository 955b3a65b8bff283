import { Budget1732300000000 } from './1732300000000-budget.js';

/** In the order in which they run. */
export const migrations = [Budget1732300000000];
