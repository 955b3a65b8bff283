import { boundCallersSql, countPlacedSql } from './bound-callers.sql.js';
import { changeExistingSql } from './change-existing.sql.js';
import { placeNewSql } from './place-new.sql.js';
import { sweepLeasesSql } from './sweep-leases.sql.js';

/**
 * `budget.apply_batch`: every change of an allocation, a whole batch in one call and one transaction.
 *
 * Arguments, matched by position: one operation an element, no two of one (tenant, request id).
 *   kinds       1 allocate, 2 settle, 3 extend, 4 free
 *   tenants, request_ids, subjects   whose allocation, and who asks
 *   privileged  the caller may act for every subject of the tenant
 *   counts      tokens to allocate or to settle; 0 otherwise
 *   ttls        seconds of the lease; 0: none; below zero: the caller asked for none, and gets one of as many seconds by default
 *   look_up     some of the allocations may exist. Without it all must be new ones, at half the reads; one that
 *               exists after all fails the call with an exclusion violation, and it is repeated with look_up
 *   wait        wait for nodes that another transaction holds, instead of passing over them
 *   sweep_max   leases ended at most by this call
 *
 * Results: `codes`, `places` (an index of `names`) and `strategies` by position. Null stands for what is usual: every code 0,
 * every place `place_of_all`, every strategy 1. `ex_*` describe the allocations that existed before, `ex_at` being
 * the position. Codes (batch/operation.ts has their meaning):
 *   0 done, 1 again, 2 not found, 3 mismatch, 4 exhausted, 5 more than allocated, 6 ended,
 *   7 the caller holds too many tokens, 8 the caller has too many allocations in flight
 * `largest` is what could have been given: with 4 by one node, with 7 to this caller.
 *
 * Locks. A transaction changes an allocation only while it holds the row of the allocation's node, so node rows are
 * the only locks: they are taken first, before anything is read, either with SKIP LOCKED (which never waits) or all
 * in order of their id (which cannot form a cycle). Waiting while holding only some of them would, so what needs a
 * node that was passed over is answered `again`, and comes back in a call that waits. With every node passed over
 * nothing is held, and this call waits itself.
 *
 * Where callers are bounded, the row of settings is locked after the nodes, and whoever has it knows what every caller holds: two
 * replicas can hold different nodes, but not this row. Nothing is waited for while it is held.
 *
 * Order. Leases end first, then what gives back, then allocations in the order of the arrays. `batch` is drawn under
 * the locks: for any one node the entries of the ledger, ordered by batch and ordinal, are in the order in which they
 * were committed.
 */
export const applyBatchSql = `
create or replace function apply_batch(
  kinds int[], tenants text[], request_ids text[], subjects text[], privileged boolean[],
  counts bigint[], ttls bigint[],
  look_up boolean, wait boolean, sweep_max int,
  out at_us bigint, out next_expiry_us bigint, out more_due boolean, out names text[],
  out codes int[], out places int[], out place_of_all int, out strategies int[], out largest bigint[],
  out ex_at int[], out ex_nodes text[], out ex_states int[], out ex_strategies int[], out ex_counts bigint[],
  out ex_settled bigint[], out ex_expires bigint[], out ex_created bigint[]
) language plpgsql as $function$
#variable_conflict use_variable
declare
  none constant bigint := 9223372036854775807;
  n int := coalesce(cardinality(kinds), 0);
  clock timestamptz;
  batch bigint;
  strategy_now int;
  threshold bigint;
  all_held boolean;
  -- What a caller may hold at most, in tokens and in allocations that are not settled; 0: any number.
  tokens_max bigint;
  requests_max bigint;
  bounded boolean;
  -- For every position the caller's index, and for every caller what it holds.
  caller_of int[];
  caller_tokens numeric[];
  caller_requests bigint[];
  caller int;
  any_due boolean;

  -- The nodes that are held, in order of their id.
  node_remaining bigint[];
  node_active boolean[];
  node_delta bigint[];

  -- Leases that have ended.
  due_tenants text[];
  due_ids text[];
  due_nodes text[];
  due_counts bigint[];
  due_subjects text[];
  due_places int[];
  due int := 0;

  -- The allocations that existed before, and for every position its index among them.
  ex_places int[];
  ex_ttls bigint[];
  ex_theirs boolean[];
  ex_lease timestamptz[];
  ex_index int[];
  existing int;

  ex_tenants text[];
  ex_ids text[];
  ex_subjects text[];
  -- Whether each was in flight before this call.
  ex_flying boolean[];
  -- What becomes of each: the kind of change (0: none), the change of its node's used, and the end of its lease.
  change_kind int[];
  change_delta bigint[];
  change_lease timestamptz[];
  changes int := 0;

  -- Positions of new requests, and the active nodes ordered by (remaining, id) while they are placed.
  fresh int[] := '{}';
  sorted_remaining bigint[];
  sorted_places int[];
  sorted int;
  placed int := 0;
  small_max bigint;
  -- From this many on it is worth asking first whether all of them belong on one node: none fits one that has less left, and
  -- together they fit.
  together_min constant int := 4;
  least_count bigint;
  most_count bigint;
  total numeric;
  -- While one node stays the right one for request after request, only these are touched: where it stands among the
  -- sorted (0: no run), what it has left, and what the node before it has.
  run int := 0;
  run_remaining bigint := 0;
  run_floor bigint := none;
  exhausted boolean := false;

  i int;
  e int;
  p int;
  low int;
  high int;
  middle int;
  place int;
  kind int;
  state int;
  delta bigint;
  count bigint;
  remaining bigint;
  lease timestamptz;
begin
  if not wait then
    select array_agg(held.node_id), array_agg(held.capacity - held.used), array_agg(held.state = 1)
      into names, node_remaining, node_active
      from (select * from nodes order by node_id for no key update skip locked) held;
  end if;
  if names is null then
    select array_agg(held.node_id), array_agg(held.capacity - held.used), array_agg(held.state = 1)
      into names, node_remaining, node_active
      from (select * from nodes order by node_id for no key update) held;
  end if;
  node_delta := array_fill(0::bigint, array[coalesce(cardinality(names), 0)]);
  clock := clock_timestamp();
  select s.strategy, s.large_request_tokens, s.caller_tokens_max, s.caller_requests_max, coalesce(cardinality(names), 0) = (select count(*) from nodes),
      exists (select from leases l where l.expires_at <= clock)
    into strategy_now, threshold, tokens_max, requests_max, all_held, any_due
    from settings s;
  bounded := tokens_max > 0 or requests_max > 0;
  if bounded then
    -- What was committed before this lock was given is seen by every statement after it.
    select s.caller_tokens_max, s.caller_requests_max into tokens_max, requests_max from settings s for no key update;
    bounded := tokens_max > 0 or requests_max > 0;
  end if;
  at_us := extract(epoch from clock) * 1000000;
  more_due := false;
  batch := nextval('batch_seq');

${sweepLeasesSql}

${changeExistingSql}

${boundCallersSql}

${placeNewSql}

${countPlacedSql}

  if due + changes + placed > 0 then
    update nodes set used = nodes.used + d.delta
      from (select unnest(names) as node_id, unnest(node_delta) as delta) d
      where nodes.node_id = d.node_id and d.delta <> 0;
  end if;
  if place_of_all is not null then
    places := null;
  end if;
  if exhausted then
    -- Of the next few leases: what ends on a node that drains helps nobody.
    select (extract(epoch from l.expires_at) * 1000000)::bigint into next_expiry_us
      from (select * from leases order by expires_at, tenant, request_id limit 100) l
        join allocations a on allocation_key(a.tenant, a.request_id) = allocation_key(l.tenant, l.request_id)
        join nodes on nodes.node_id = a.node_id and nodes.state = 1
      order by l.expires_at limit 1;
  end if;
end
$function$`;
