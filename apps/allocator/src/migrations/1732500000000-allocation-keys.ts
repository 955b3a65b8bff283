import { randomBytes } from 'node:crypto';
import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Allocations are found by a hash index instead of a B-tree of their ids. It has 4 octets of every id, so it is half as large, and
 * a new id changes one of its pages, found in two steps however many ids there are. What it finds is compared with the row, so ids
 * stay exact; that they are unique is an exclusion constraint, since hash indexes know no other.
 *
 * The salt is drawn here, once for an installation: without it callers could choose ids which all have the same hash, and each of
 * them would be compared with all the others.
 */
export class AllocationKeys1732500000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const salt = randomBytes(12).toString('base64');
    // Postgres compares each of the rows that there are with all others once: a minute or more for ten million.
    await runner.query(`set local statement_timeout = 0`);
    // An id has no control characters, so the line feed ends the tenant. One expression, so that it becomes part of the queries' plans.
    await runner.query(`
      create function allocation_key(tenant text, request_id text) returns text
        language sql immutable parallel safe return '${salt}' || tenant || E'\\n' || request_id`);
    await runner.query(`alter table allocations drop constraint allocations_pkey`);
    await runner.query(`
      alter table allocations add constraint allocations_key
        exclude using hash (allocation_key(tenant, request_id) with =)`);
    // Without statistics of the keys each would be taken for the key of many.
    await runner.query(`analyze allocations`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`alter table allocations drop constraint allocations_key`);
    await runner.query(`drop function allocation_key`);
    await runner.query(`alter table allocations add primary key (request_id, tenant)`);
  }
}
