/** One row of docs/reference/settings.md. */
interface StartSetting {
  describe: string;
  expect: string;
  fallback: string | undefined;
  absent: 'required' | 'undefined';
  secret: boolean;
}

const optional = (describe: string, expect: string, fallback?: string): StartSetting => ({
  describe,
  expect,
  fallback,
  absent: 'undefined',
  secret: false,
});

/** What `npm start` reads for itself, besides the ports and hosts of the processes. */
export const START_SETTINGS: Readonly<Record<string, StartSetting>> = {
  PORT_OFFSET: optional(
    'Added to the usual number of every port that is not set by itself: a second copy on one machine needs nothing else.',
    'a whole number from 0 to 15482',
    '0',
  ),
  POSTGRES_PORT: optional('The port of the embedded Postgres; without it, a free one is chosen and kept.', 'a port'),
  POSTGRES_SHARED_BUFFERS: optional(
    'Memory in which the embedded Postgres keeps pages; without it, a quarter of the machine’s, from 32MB to 1GB. The index of request ids (34 to 41 octets each) should fit in it.',
    'a whole number and kB, MB or GB, for example 512MB',
  ),
  DATABASE_URL: {
    ...optional(
      'A Postgres of your own for all services, instead of the embedded one; each makes its schema in it.',
      'postgres://user:password@host:port/database',
    ),
    secret: true,
  },
  USER_ADDRESS: optional('Where the others find the user service.', '`host:port`, several separated by commas'),
  ALLOCATOR_ADDRESS: optional('Where the others find the allocator.', '`host:port`, several separated by commas'),
  POSTCARD_ADDRESS: optional('Where the others find the sample workload.', '`host:port`, several separated by commas'),
};
