/** The part of autocannon that the bench uses; the package brings no types. */
declare module 'autocannon' {
  interface Options {
    readonly url: string;
    readonly connections: number;
    /** Calls in all; or `duration` in seconds. */
    readonly amount?: number;
    readonly duration?: number;
    /** Calls per second over all connections. */
    readonly overallRate?: number;
  }
  export default function autocannon(options: Options): Promise<{ readonly '2xx': number }>;
}
