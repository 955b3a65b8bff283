import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The functions of triggers find their tables whoever changes a row: an operator's SQL has another search path than the service, and was
 * refused ("relation ended_credentials does not exist").
 */
export class SearchPath1764000000011 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await forEachTriggerFunction(runner, 'set search_path from current');
  }

  async down(runner: QueryRunner): Promise<void> {
    await forEachTriggerFunction(runner, 'reset search_path');
  }
}

async function forEachTriggerFunction(runner: QueryRunner, change: string): Promise<void> {
  await runner.query(`
    do $$
    declare each regprocedure;
    begin
      for each in
        select p.oid from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prorettype = 'trigger'::regtype
      loop
        execute format('alter function %s ${change}', each);
      end loop;
    end $$`);
}
