import type { Readiness } from '@sluice/telemetry';

/** Ready while Postgres answers; otherwise its fault is named `postgres`. */
export function postgresReadiness(database: { query(text: string): Promise<unknown> }): Readiness {
  return {
    async check(): Promise<Record<string, string>> {
      try {
        await database.query('select 1');
        return {};
      } catch (error) {
        return { postgres: (error as Error).message };
      }
    },
  };
}
