import { Budget1732300000000 } from './1732300000000-budget.js';
import { UsualResults1732400000000 } from './1732400000000-usual-results.js';
import { AllocationKeys1732500000000 } from './1732500000000-allocation-keys.js';
import { Callers1764500000000 } from './1764500000000-callers.js';
import { Functions1764547200000 } from './1764547200000-functions.js';
import { Accounts1764550800000 } from './1764550800000-accounts.js';
import { PeriodsAhead1764552600000 } from './1764552600000-periods-ahead.js';

/** In the order in which they run. One that has landed never changes: frozen.test.ts has their hashes. */
export const migrations = [
  Budget1732300000000,
  UsualResults1732400000000,
  AllocationKeys1732500000000,
  Callers1764500000000,
  Functions1764547200000,
  Accounts1764550800000,
  PeriodsAhead1764552600000,
];
