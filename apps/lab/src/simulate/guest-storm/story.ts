/** Why a program without a client of ours asked for a guest token. */
export type StormCause = 'service_restart' | 'manual_test' | 'api_failure';

/** One moment at which that program asked. */
export interface Occasion {
  readonly cause: StormCause;
  readonly what: 'restart' | 'restart_without_store' | 'test' | 'check_in_advance' | 'retry' | 'retry_spent';
}

/** Occasions without a pause between them. */
export interface Burst {
  readonly name: string;
  readonly occasions: readonly Occasion[];
}

/** What each kind of moment is for the report of the server. */
const CAUSES: Readonly<Record<Occasion['what'], StormCause>> = {
  restart: 'service_restart',
  restart_without_store: 'service_restart',
  test: 'manual_test',
  check_in_advance: 'api_failure',
  retry: 'api_failure',
  retry_spent: 'api_failure',
};

const times = (count: number, what: Occasion['what']): Occasion[] =>
  Array.from({ length: count }, () => ({ cause: CAUSES[what], what }));

/**
 * The day on which 97 tokens were asked for: 59 by hand (60.8 %), 30 after calls that failed (30.9 %), 8 by restarts (8.2 %), in three
 * bursts. A retry follows its failed call without delay, five for each call; the last call fails because the budget is spent.
 */
export const STORY: readonly Burst[] = [
  {
    name: 'four services start at once',
    occasions: [...times(4, 'restart'), ...times(25, 'test'), ...times(5, 'retry')],
  },
  {
    name: 'they are restarted, two of them on empty disks',
    occasions: [
      ...times(2, 'restart'),
      ...times(2, 'restart_without_store'),
      ...times(34, 'test'),
      ...times(10, 'check_in_advance'),
      ...times(10, 'retry'),
    ],
  },
  { name: 'the budget is spent', occasions: times(5, 'retry_spent') },
];
