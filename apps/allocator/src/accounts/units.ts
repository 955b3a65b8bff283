/** What limits count; the position is the number in Postgres, less 1. */
export const units = ['tokens', 'micro_usd', 'requests'] as const;
export type Unit = (typeof units)[number];

/** How often a limit begins anew; the position is the number in Postgres. Minutes and hours are those of UTC. */
export const periods = ['total', 'minute', 'hour', 'day', 'week', 'month'] as const;
export type Period = (typeof periods)[number];

/** Days of a week; the position is the ISO number, less 1. */
export const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;

/** `hard` limits refuse, `soft` ones let pass and tell. */
export const modes = ['hard', 'soft'] as const;
export type Mode = (typeof modes)[number];

/** The most that a limit can be, in its unit. */
export const AMOUNT_MAX = 10n ** 15n;
/** The most that one request of an account can ask for, in tokens and in micro-USD: so sums of them stay within an int64. */
export const ASKED_MAX = 10n ** 12n;
/** Accounts below a tenant's root. */
export const LEVELS_MAX = 5;
