-- version 2
--
-- budget.apply_operations: every change of an allocation, a whole batch in one call and one transaction.
--
-- Arguments, matched by position: one operation an element, no two of one (tenant, request id).
--   kinds       1 allocate, 2 settle, 3 extend, 4 free
--   tenants, request_ids, subjects   whose allocation, and who asks
--   privileged  the caller may act for every subject of the tenant
--   counts      tokens to allocate or to settle; 0 otherwise
--   ttls        seconds of the lease; 0: none; below zero: the caller asked for none, and gets one of as many seconds by default
--   costs       micro-USD to allocate or to settle; null: none. -1 of a settlement: as much of what was reserved as of the tokens,
--               rounded up
--   pools       the nodes to choose from; null: of 'default'
--   leaf_at     who is charged: an index of leaf_tenants and leaf_references, which have each once (resolve_reference tells their form)
--   labels      kept with the allocation; null: none
--   forced      frees what was settled for accounts, too
--   overrun     what is settled for accounts above the reservation is charged; else it is refused
--   look_up     some of the allocations may exist. Without it all must be new ones, at half the reads; one that
--               exists after all fails the call with an exclusion violation, and it is repeated with look_up
--   wait        wait for nodes that another transaction holds, instead of passing over them
--   sweep_max   leases ended at most by this call
--
-- Results: `codes`, `places` (an index of `names`) and `strategies` by position. Null stands for what is usual: every code 0,
-- every place `place_of_all`, every strategy 1. `ex_*` describe the allocations that existed before, `ex_at` being
-- the position. Codes (src/batch/operation.ts has their meaning):
--   0 done, 1 again, 2 not found, 3 mismatch, 4 exhausted, 5 more than allocated, 6 ended,
--   7 the caller holds too many tokens, 8 the caller has too many allocations in flight, 9 a limit of an account,
--   10 no such account, 11 it is closed, 12 the caller's own account does not exist, 13 no such pool, 14 settled is spent,
--   15 more than one request of an account may ask for
-- `largest` is what could have been given: with 4 by one node, with 7 to this caller, with 9 by the limit, in its unit.
-- `refused_by` has the limit's row with 9. `warned_at` and `warned_rows` are the operations that took a row over its soft mark.
-- `about` describes the rows that were named, as JSON. `leaf_accounts` and `ex_accounts` are the ids of the accounts that are charged.
--
-- Locks. A transaction changes an allocation only while it holds the row of the allocation's node, so node rows are
-- the first locks: they are taken first, before anything is read, either with SKIP LOCKED (which never waits) or all
-- in order of their id (which cannot form a cycle). Waiting while holding only some of them would, so what needs a
-- node that was passed over is answered `again`, and comes back in a call that waits. With every node passed over
-- nothing is held, and this call waits itself.
--
-- Where callers are bounded or there are accounts, the row of settings is locked after the nodes, and whoever has it knows what every
-- caller holds and what is used of every limit: two replicas can hold different nodes, but not this row. Nothing is waited for
-- while it is held, and no row of a period is locked by itself: their only writers hold it.
--
-- Accounts (ADR 0031). One pass over the rows of periods is optimistic: what came back, and everything that is asked for as if all of it
-- were admitted. Only rows which that takes over their ceiling are tight, and only requests on those are asked one by one,
-- in the order of the arrays. What is refused is taken off again, in the same transaction.
--
-- Order. Leases end first, then what gives back, then allocations in the order of the arrays, pool after pool. `batch` is drawn under
-- the locks: for any one node and any one row the entries of the ledger, ordered by batch and ordinal, are in the order in which
-- they were committed.
create or replace function apply_operations(
  kinds int[], tenants text[], request_ids text[], subjects text[], privileged boolean[],
  counts bigint[], ttls bigint[], costs bigint[], pools text[],
  leaf_at int[], leaf_tenants text[], leaf_references text[], labels text[],
  forced boolean, overrun boolean, look_up boolean, wait boolean, sweep_max int,
  out at_us bigint, out next_expiry_us bigint, out more_due boolean, out names text[],
  out codes int[], out places int[], out place_of_all int, out strategies int[], out largest bigint[],
  out ex_at int[], out ex_nodes text[], out ex_states int[], out ex_strategies int[], out ex_counts bigint[],
  out ex_settled bigint[], out ex_expires bigint[], out ex_created bigint[],
  out ex_costs bigint[], out ex_settled_costs bigint[], out ex_accounts bigint[],
  out refused_by bigint[], out warned_at int[], out warned_rows bigint[], out about text, out leaf_accounts bigint[],
  out overruns int
) language plpgsql as $function$
#variable_conflict use_variable
declare
  none constant bigint := 9223372036854775807;
  -- The most that one request of an account asks for, in tokens: sums of them stay within an int64.
  asked_max constant bigint := 1000000000000;
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
  node_pool text[];
  -- Of nodes with a refill window: what the running one has left, when it began (0: none), and what it changes by.
  windows boolean;
  node_window bigint[];
  node_start bigint[];
  window_delta bigint[];
  -- node_delta before a pool's requests were placed.
  delta_before bigint[];

  -- Leases that have ended.
  due_tenants text[];
  due_ids text[];
  due_nodes text[];
  due_counts bigint[];
  due_subjects text[];
  due_places int[];
  due_costs bigint[];
  due_sets bigint[];
  due_starts bigint[];
  due int := 0;

  -- The allocations that existed before, and for every position its index among them.
  ex_places int[];
  ex_ttls bigint[];
  ex_theirs boolean[];
  ex_lease timestamptz[];
  ex_sets bigint[];
  ex_starts bigint[];
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
  change_cost bigint[];
  change_requests int[];

  -- Whether there are accounts, and whether this call touches one.
  accounted boolean;
  touched boolean := false;
  -- The set that each leaf is charged to (0: none), and why it cannot be charged.
  leaf_sets bigint[];
  leaf_states int[];
  stale int[];
  found record;
  -- The rows that are tight, the last to end first: their unit and what they have left. For each leaf the first and the last of
  -- its tight rows in tight_of.
  tight_rows bigint[];
  tight_units int[];
  tight_room bigint[];
  tight_from int[];
  tight_to int[];
  tight_of int[];
  tight_leaf int[];
  tight int;
  -- Rows of limits that were crossed, and those that a refusal names.
  crossed_rows bigint[];
  overrun_rows bigint[];
  named_rows bigint[];
  asked bigint;
  cost bigint;
  limited boolean;
  pool_names text[];
  pool text;
  new_requests int[];

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
    select array_agg(held.node_id), array_agg(held.capacity - held.used),
        array_agg(held.state = 1 and (held.rest_until is null or held.rest_until <= budget_clock())), array_agg(held.pool),
        max(held.window_seconds) > 0
      into names, node_remaining, node_active, node_pool, windows
      from (select * from nodes order by node_id for no key update skip locked) held;
  end if;
  if names is null then
    select array_agg(held.node_id), array_agg(held.capacity - held.used),
        array_agg(held.state = 1 and (held.rest_until is null or held.rest_until <= budget_clock())), array_agg(held.pool),
        max(held.window_seconds) > 0
      into names, node_remaining, node_active, node_pool, windows
      from (select * from nodes order by node_id for no key update) held;
  end if;
  node_delta := array_fill(0::bigint, array[coalesce(cardinality(names), 0)]);
  select s.strategy, s.large_request_tokens, s.caller_tokens_max, s.caller_requests_max, coalesce(cardinality(names), 0) = (select count(*) from nodes),
      s.accounted
    into strategy_now, threshold, tokens_max, requests_max, all_held, accounted
    from settings s;
  bounded := tokens_max > 0 or requests_max > 0;
  if bounded or accounted then
    -- What was committed before this lock was given is seen by every statement after it.
    select s.caller_tokens_max, s.caller_requests_max into tokens_max, requests_max from settings s for no key update;
    bounded := tokens_max > 0 or requests_max > 0;
  end if;
  clock := budget_clock();
  any_due := exists (select from leases l where l.expires_at <= clock);
  at_us := extract(epoch from clock) * 1000000;
  more_due := false;
  batch := nextval('batch_seq');
  if windows then
    select array_agg(
          case when w.seconds = 0 then none when w.started = w.window_start then w.window_limit - w.window_used else w.window_limit end
          order by w.node_id),
        array_agg(w.started order by w.node_id)
      into node_window, node_start
      from (
        select x.*, x.window_seconds as seconds,
            case when x.window_seconds = 0 then 0 else at_us / 1000000 / x.window_seconds * x.window_seconds end as started
          from nodes x where x.node_id = any (names)
      ) w;
    window_delta := node_delta;
  end if;

  if any_due then
    select array_agg(ended.tenant), array_agg(ended.request_id), array_agg(ended.node_id), array_agg(ended.token_count),
        array_agg(ended.subject), array_agg(array_position(names, ended.node_id)), array_agg(ended.cost), array_agg(ended.set_id),
        array_agg(ended.window_start), count(*)
      into due_tenants, due_ids, due_nodes, due_counts, due_subjects, due_places, due_costs, due_sets, due_starts, due
      from (
        select l.tenant, l.request_id, a.subject, a.node_id, a.token_count, a.cost, a.set_id, a.window_start
          from leases l join allocations a on allocation_key(a.tenant, a.request_id) = allocation_key(l.tenant, l.request_id)
          where l.expires_at <= clock and a.node_id = any (names)
          order by l.expires_at, l.tenant, l.request_id
          limit sweep_max
          for update of l skip locked
      ) ended;
    more_due := due = sweep_max;
    for i in 1..due loop
      place := due_places[i];
      node_delta[place] := node_delta[place] - due_counts[i];
      node_remaining[place] := node_remaining[place] + due_counts[i];
      if windows and due_starts[i] = node_start[place] then
        window_delta[place] := window_delta[place] - due_counts[i];
        node_window[place] := node_window[place] + due_counts[i];
      end if;
      touched := touched or due_sets[i] is not null;
    end loop;
    if due > 0 then
      delete from leases l using allocations a, (select unnest(due_tenants) as tenant, unnest(due_ids) as request_id) d
        where allocation_key(a.tenant, a.request_id) = allocation_key(d.tenant, d.request_id)
          and l.expires_at = a.expires_at and l.tenant = a.tenant and l.request_id = a.request_id;
      update allocations a set state = 4, update_time = clock
        from (select unnest(due_tenants) as tenant, unnest(due_ids) as request_id) d
        where allocation_key(a.tenant, a.request_id) = allocation_key(d.tenant, d.request_id);
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta, cost_delta, set_id, window_start)
        select batch, d.ordinal, clock, 5, d.node_id, d.tenant, d.request_id, -d.token_count, 0, -d.cost, d.set_id, d.window_start
          from (
            select unnest(due_tenants) as tenant, unnest(due_ids) as request_id, unnest(due_nodes) as node_id,
              unnest(due_counts) as token_count, unnest(due_costs) as cost, unnest(due_sets) as set_id,
              unnest(due_starts) as window_start, generate_subscripts(due_tenants, 1) as ordinal
          ) d;
    end if;
  end if;

  if look_up then
    codes := array_fill(0, array[n]);
    ex_index := array_fill(0, array[n]);
    select array_agg(f.position), array_agg(f.node_id), array_agg(f.place), array_agg(f.state), array_agg(f.strategy),
        array_agg(f.token_count), array_agg(f.settled), array_agg(f.ttl_seconds), array_agg(f.theirs),
        array_agg(f.lease), array_agg(f.expires_us), array_agg(f.created_us), array_agg(f.tenant), array_agg(f.request_id),
        array_agg(f.subject), array_agg(f.state = 1), array_agg(f.cost), array_agg(f.settled_cost), array_agg(f.set_id),
        array_agg(f.window_start), count(*)
      into ex_at, ex_nodes, ex_places, ex_states, ex_strategies, ex_counts, ex_settled, ex_ttls, ex_theirs, ex_lease,
        ex_expires, ex_created, ex_tenants, ex_ids, ex_subjects, ex_flying, ex_costs, ex_settled_costs, ex_sets, ex_starts, existing
      from (
        select k.position, a.tenant, a.request_id, a.subject, a.node_id, array_position(names, a.node_id) as place,
            a.state::int, a.strategy::int, a.token_count, a.settled, a.ttl_seconds, a.cost, a.settled_cost, a.set_id, a.window_start,
            not (k.privileged or a.subject = k.subject) as theirs,
            case when a.state = 1 then a.expires_at end as lease,
            coalesce(extract(epoch from a.expires_at) * 1000000, 0)::bigint as expires_us,
            (extract(epoch from a.create_time) * 1000000)::bigint as created_us
          from (
            select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(subjects) as subject,
              unnest(privileged) as privileged, generate_subscripts(tenants, 1) as position
          ) k
            join allocations a on allocation_key(a.tenant, a.request_id) = allocation_key(k.tenant, k.request_id)
      ) f;
    change_kind := array_fill(0, array[existing]);
    change_delta := array_fill(0::bigint, array[existing]);
    change_cost := change_delta;
    change_requests := change_kind;
    change_lease := ex_lease;
    for e in 1..existing loop
      ex_index[ex_at[e]] := e;
    end loop;

    for i in 1..n loop
      e := ex_index[i];
      kind := kinds[i];
      if e = 0 then
        if kind = 1 then
          fresh := fresh || i;
        else
          codes[i] := 2;
        end if;
        continue;
      end if;
      if ex_theirs[e] then
        codes[i] := case when kind = 1 then 3 else 2 end;
        continue;
      end if;
      state := ex_states[e];
      place := ex_places[e];
      if kind = 1 and (ex_counts[e] <> counts[i] or ex_ttls[e] <> greatest(ttls[i], 0) or ex_costs[e] <> coalesce(costs[i], 0)) then
        codes[i] := 3;
        continue;
      end if;
      if place is null and state <= 2 then
        -- Another transaction may be changing it. One that was given back never changes, and its node may be no more.
        codes[i] := 1;
        continue;
      end if;
      if state = 1 and ex_lease[e] <= clock then
        -- Its lease has ended, although no sweep has come round to it: it ends here, whatever was asked.
        state := 4;
        delta := -ex_counts[e];
        change_kind[e] := 5;
        change_delta[e] := delta;
        change_cost[e] := -ex_costs[e];
        change_requests[e] := -1;
        changes := changes + 1;
        node_delta[place] := node_delta[place] + delta;
        node_remaining[place] := node_remaining[place] - delta;
        if windows and ex_starts[e] = node_start[place] then
          window_delta[place] := window_delta[place] + delta;
          node_window[place] := node_window[place] - delta;
        end if;
        touched := touched or ex_sets[e] is not null;
        ex_states[e] := state;
      end if;
      if kind = 1 then
        if state > 1 then
          codes[i] := 6;
        end if;
        continue;
      end if;
      delta := 0;
      cost := 0;
      lease := ex_lease[e];
      if kind = 2 then
        if state = 2 then
          codes[i] := case when ex_settled[e] = counts[i] and coalesce(costs[i], -1) in (-1, ex_settled_costs[e]) then 0 else 3 end;
          continue;
        elsif state <> 1 then
          codes[i] := 6;
          continue;
        end if;
        cost := case when coalesce(costs[i], -1) < 0 then ceil(ex_costs[e]::numeric * counts[i] / ex_counts[e])::bigint else costs[i] end;
        if (counts[i] > ex_counts[e] or (cost > ex_costs[e] and ex_sets[e] is not null)) and not (overrun and ex_sets[e] is not null and counts[i] <= asked_max) then
          codes[i] := 5;
          continue;
        end if;
        -- Charged in full, also above what was reserved: it has been spent.
        delta := counts[i] - ex_counts[e];
        if delta > 0 or cost > ex_costs[e] then
          overruns := coalesce(overruns, 0) + 1;
        end if;
        state := 2;
        ex_settled[e] := counts[i];
        ex_settled_costs[e] := cost;
        cost := cost - ex_costs[e];
        ex_expires[e] := 0;
        lease := null;
      elsif kind = 3 then
        if state <> 1 then
          codes[i] := 6;
          continue;
        end if;
        lease := clock + make_interval(secs => ttls[i]);
        ex_expires[e] := at_us + ttls[i] * 1000000;
      else
        if state > 2 then
          -- Given back already; the answer is the same.
          continue;
        end if;
        if state = 2 and ex_sets[e] is not null and not forced then
          codes[i] := 14;
          continue;
        end if;
        delta := case when state = 1 then -ex_counts[e] else -ex_settled[e] end;
        cost := case when state = 1 then -ex_costs[e] else -ex_settled_costs[e] end;
        change_requests[e] := -1;
        state := 3;
      end if;
      change_kind[e] := kind;
      change_delta[e] := delta;
      change_cost[e] := cost;
      change_lease[e] := lease;
      changes := changes + 1;
      node_delta[place] := node_delta[place] + delta;
      node_remaining[place] := node_remaining[place] - delta;
      if windows and ex_starts[e] = node_start[place] then
        window_delta[place] := window_delta[place] + delta;
        node_window[place] := node_window[place] - delta;
      end if;
      touched := touched or ex_sets[e] is not null;
      ex_states[e] := state;
    end loop;

    if changes > 0 then
      delete from leases l using (
        select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_lease) as lease,
          unnest(change_kind) as kind
      ) c
        where c.kind > 0 and l.expires_at = c.lease and l.tenant = c.tenant and l.request_id = c.request_id;
      update allocations a
        set state = c.state, settled = c.settled, settled_cost = c.cost, expires_at = c.lease, update_time = clock
        from (
          select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_states) as state,
            unnest(ex_settled) as settled, unnest(ex_settled_costs) as cost, unnest(change_lease) as lease, unnest(change_kind) as kind
        ) c
        where c.kind > 0 and allocation_key(a.tenant, a.request_id) = allocation_key(c.tenant, c.request_id);
      insert into leases (expires_at, tenant, request_id)
        select c.lease, c.tenant, c.request_id
          from (
            select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(change_lease) as lease,
              unnest(change_kind) as kind
          ) c where c.kind = 3;
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta, cost_delta, set_id, window_start)
        select batch, due + c.ordinal, clock, c.kind, c.node_id, c.tenant, c.request_id, c.delta, 0, c.cost, c.set_id, c.window_start
          from (
            select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_nodes) as node_id,
              unnest(change_kind) as kind, unnest(change_delta) as delta, unnest(change_cost) as cost, unnest(ex_sets) as set_id,
              unnest(ex_starts) as window_start, generate_subscripts(ex_tenants, 1) as ordinal
          ) c where c.kind > 0;
    end if;
  else
    existing := 0;
    fresh := array(select generate_series(1, n));
  end if;

  if bounded then
    if due + changes > 0 then
      insert into callers as c (tenant, subject, tokens, requests)
        select r.tenant, r.subject, sum(r.tokens), sum(r.requests) from (
          select unnest(due_tenants) as tenant, unnest(due_subjects) as subject, -unnest(due_counts) as tokens, -1 as requests
          union all
          select x.tenant, x.subject, x.delta, case when x.flying and x.kind <> 3 then -1 else 0 end
            from (
              select unnest(ex_tenants) as tenant, unnest(ex_subjects) as subject, unnest(change_delta) as delta,
                unnest(change_kind) as kind, unnest(ex_flying) as flying
            ) x where x.kind > 0
        ) r group by r.tenant, r.subject
        on conflict (tenant, subject) do update
          set tokens = c.tokens + excluded.tokens, requests = c.requests + excluded.requests;
    end if;
    if cardinality(fresh) > 0 then
      select array_agg(r.caller order by r.position) into caller_of
        from (
          select o.position, dense_rank() over (order by o.tenant collate "C", o.subject collate "C")::int as caller
            from unnest(tenants, subjects) with ordinality o (tenant, subject, position)
        ) r;
      select array_agg(coalesce(c.tokens, 0) order by k.caller), array_agg(coalesce(c.requests, 0) order by k.caller)
        into caller_tokens, caller_requests
        from (
          select o.tenant, o.subject, dense_rank() over (order by o.tenant collate "C", o.subject collate "C") as caller
            from unnest(tenants, subjects) o (tenant, subject) group by o.tenant, o.subject
        ) k
          left join callers c on c.tenant = k.tenant and c.subject = k.subject;
    end if;
  end if;

  new_requests := fresh;
  if accounted and cardinality(fresh) > 0 and cardinality(leaf_tenants) > 0 then
    select array_agg(case when c.starts <= clock and c.ends > clock then c.set_id else 0 end order by k.i),
        array_agg(coalesce(c.account_id, 0) order by k.i),
        array_agg(k.i) filter (where c.set_id is null or c.starts > clock or c.ends <= clock)
      into leaf_sets, leaf_accounts, stale
      from (select unnest(leaf_tenants) as tenant, unnest(leaf_references) as reference, generate_subscripts(leaf_tenants, 1) as i) k
        left join leaf_current c on c.tenant = k.tenant and c.reference = k.reference;
    touched := true;
    if stale is not null then
      leaf_states := array_fill(1, array[cardinality(leaf_tenants)]);
      for found in
        select r.at_position, r.leaf_state, r.leaf_set, r.leaf_account
          from resolve_leaves(stale, array(select leaf_tenants[s.i] from unnest(stale) with ordinality s (i, o) order by s.o),
            array(select leaf_references[s.i] from unnest(stale) with ordinality s (i, o) order by s.o), clock) r
      loop
        leaf_sets[found.at_position] := found.leaf_set;
        leaf_accounts[found.at_position] := found.leaf_account;
        leaf_states[found.at_position] := found.leaf_state;
      end loop;
      -- Who cannot be charged is refused here.
      foreach i in array fresh loop
        if leaf_at[i] > 0 and leaf_states[leaf_at[i]] >= 10 then
          codes := coalesce(codes, array_fill(0, array[n]));
          codes[i] := leaf_states[leaf_at[i]];
        end if;
      end loop;
      if codes is not null then
        fresh := array(select f.i from unnest(fresh) with ordinality f (i, o) where codes[f.i] = 0 order by f.o);
      end if;
    end if;
  end if;

  if touched and exists (select from unnest(fresh) f (i) where counts[f.i] > asked_max and leaf_sets[leaf_at[f.i]] > 0) then
    codes := coalesce(codes, array_fill(0, array[n]));
    foreach i in array fresh loop
      if counts[i] > asked_max and leaf_sets[leaf_at[i]] > 0 then
        codes[i] := 15;
      end if;
    end loop;
    fresh := array(select f.i from unnest(fresh) with ordinality f (i, o) where codes[f.i] = 0 order by f.o);
  end if;

  if touched then
    with moved as (
      select m.set_id, sum(m.tokens)::bigint as tokens, sum(m.cost)::bigint as cost, sum(m.requests)::bigint as requests,
          sum(m.new_tokens)::bigint as new_tokens, sum(m.new_cost)::bigint as new_cost, sum(m.new_requests)::bigint as new_requests,
          bool_or(m.over_tokens) as over_tokens, bool_or(m.over_cost) as over_cost
        from (
          select leaf_sets[leaf_at[f.i]] as set_id, counts[f.i] as tokens, coalesce(costs[f.i], 0) as cost, 1 as requests,
              counts[f.i] as new_tokens, coalesce(costs[f.i], 0) as new_cost, 1 as new_requests, false as over_tokens, false as over_cost
            from (select unnest(fresh) as i) f
          union all
          select x.set_id, x.delta, x.cost, x.requests, 0, 0, 0, x.kind = 2 and x.delta > 0, x.kind = 2 and x.cost > 0
            from (
              select unnest(ex_sets) as set_id, unnest(change_delta) as delta, unnest(change_cost) as cost,
                unnest(change_requests) as requests, unnest(change_kind) as kind
            ) x where changes > 0 and x.kind > 0
          union all
          select d.set_id, -d.tokens, -d.cost, -1, 0, 0, 0, false, false
            from (select unnest(due_sets) as set_id, unnest(due_counts) as tokens, unnest(due_costs) as cost) d where due > 0
        ) m where m.set_id > 0 group by m.set_id
    ), by_row as (
      select u.row_id, sum(m.tokens)::bigint as tokens, sum(m.cost)::bigint as cost, sum(m.requests)::bigint as requests,
          sum(m.new_tokens)::bigint as new_tokens, sum(m.new_cost)::bigint as new_cost, sum(m.new_requests)::bigint as new_requests,
          bool_or(m.over_tokens) as over_tokens, bool_or(m.over_cost) as over_cost
        from moved m join charge_sets c on c.set_id = m.set_id cross join lateral unnest(c.rows) u (row_id)
        group by u.row_id
    ), done as (
      update periods p set used = p.used + case p.unit when 1 then b.tokens when 2 then b.cost else b.requests end
        from by_row b where p.row_id = b.row_id
        returning p.row_id, p.unit, p.hard, p.ends, p.used, p.soft, p.ceiling + case when p.extra_until > clock then p.extra else 0 end as ceiling,
          case p.unit when 1 then b.tokens when 2 then b.cost else b.requests end as moved,
          case p.unit when 1 then b.new_tokens when 2 then b.new_cost else b.new_requests end as asked,
          b.new_requests > 0 as wanted,
          case p.unit when 1 then b.over_tokens when 2 then b.over_cost else false end as overran
    )
    select array_agg(d.row_id order by d.ends desc, d.row_id) filter (where d.tight),
        array_agg(d.unit::int order by d.ends desc, d.row_id) filter (where d.tight),
        array_agg(d.ceiling - d.used + d.asked order by d.ends desc, d.row_id) filter (where d.tight),
        array_agg(d.row_id) filter (where d.crossed),
        array_agg(d.row_id) filter (where d.overran)
      into tight_rows, tight_units, tight_room, crossed_rows, overrun_rows
      from (
        select done.*, done.hard and done.wanted and done.used >= done.ceiling as tight,
            (done.used - done.moved < done.soft and done.used >= done.soft)
              or (not done.hard and done.used - done.moved <= done.ceiling and done.used > done.ceiling) as crossed
          from done
      ) d where d.tight or d.crossed or d.overran;
    if tight_rows is not null then
      tight_from := array_fill(1, array[cardinality(leaf_sets)]);
      tight_to := array_fill(0, array[cardinality(leaf_sets)]);
      select array_agg(y.tight order by y.leaf, y.tight), array_agg(y.leaf order by y.leaf, y.tight) into tight_of, tight_leaf
        from (
          select k.leaf, array_position(tight_rows, u.row_id) as tight
            from (select unnest(leaf_sets) as set_id, generate_subscripts(leaf_sets, 1) as leaf) k
              join charge_sets c on c.set_id = k.set_id cross join lateral unnest(c.rows) u (row_id)
        ) y where y.tight is not null;
      for p in 1..coalesce(cardinality(tight_of), 0) loop
        i := tight_leaf[p];
        if tight_to[i] = 0 then
          tight_from[i] := p;
        end if;
        tight_to[i] := p;
      end loop;
    end if;
  end if;

  if cardinality(fresh) > 0 then
    placed := cardinality(fresh);
    places := array_fill(0, array[n]);
    small_max := case when strategy_now = 1 then threshold else 0 end;
    pool_names := case when pools is null then array['default']
      else array(select distinct pools[f.i] from unnest(fresh) f (i) order by 1) end;
    foreach pool in array pool_names loop
    fresh := new_requests;
    if codes is not null or pools is not null then
      fresh := array(
        select f.i from unnest(new_requests) with ordinality f (i, o)
          where coalesce(codes[f.i], 0) = 0 and (pools is null or pools[f.i] = pool) order by f.o);
    end if;
    select array_agg(o.remaining order by o.remaining, o.place), array_agg(o.place order by o.remaining, o.place),
        count(*)
      into sorted_remaining, sorted_places, sorted
      from (
        select least(unnest(node_remaining), unnest(case when windows then node_window else node_remaining end)) as remaining,
          unnest(node_active) as active, unnest(node_pool) as pool, generate_subscripts(node_remaining, 1) as place
      ) o where o.active and o.pool = pool;
    sorted_remaining := coalesce(sorted_remaining, '{}');
    delta_before := node_delta;
    if cardinality(fresh) >= together_min and not bounded and tight_rows is null then
      select min(counts[f]), max(counts[f]), sum(counts[f]) into least_count, most_count, total from unnest(fresh) f;
      p := 1;
      while p <= sorted and sorted_remaining[p] < least_count loop
        p := p + 1;
      end loop;
      if p <= sorted and most_count <= small_max and total <= sorted_remaining[p] then
        place := sorted_places[p];
        node_delta[place] := node_delta[place] + total;
        if cardinality(fresh) = n then
          place_of_all := place;
          places := array_fill(place, array[n]);
        else
          foreach i in array fresh loop
            places[i] := place;
          end loop;
        end if;
        fresh := '{}';
      end if;
    end if;
    foreach i in array fresh loop
      count := counts[i];
      if tight_rows is not null and leaf_at[i] > 0 then
        limited := false;
        for p in tight_from[leaf_at[i]]..tight_to[leaf_at[i]] loop
          tight := tight_of[p];
          -- Who names no cost needs room for one all the same: it may be told when it settles.
          asked := case tight_units[tight] when 1 then count when 2 then greatest(costs[i], 1) else 1 end;
          if tight_room[tight] < asked then
            limited := true;
            exit;
          end if;
        end loop;
        if limited then
          codes := coalesce(codes, array_fill(0, array[n]));
          if not all_held or more_due then
            -- Leases may have ended that have not come back yet.
            codes[i] := 1;
          else
            codes[i] := 9;
            largest := coalesce(largest, array_fill(0::bigint, array[n]));
            largest[i] := greatest(tight_room[tight], 0);
            refused_by := coalesce(refused_by, array_fill(0::bigint, array[n]));
            refused_by[i] := tight_rows[tight];
          end if;
          placed := placed - 1;
          continue;
        end if;
      end if;
      if bounded then
        caller := caller_of[i];
        if (tokens_max > 0 and caller_tokens[caller] + count > tokens_max)
            or (requests_max > 0 and caller_requests[caller] >= requests_max) then
          codes := coalesce(codes, array_fill(0, array[n]));
          if not all_held or more_due then
            -- Leases of this caller may have ended that are not counted yet.
            codes[i] := 1;
          elsif requests_max > 0 and caller_requests[caller] >= requests_max then
            codes[i] := 8;
          else
            codes[i] := 7;
            largest := coalesce(largest, array_fill(0::bigint, array[n]));
            largest[i] := greatest(tokens_max - caller_tokens[caller], 0);
          end if;
          placed := placed - 1;
          continue;
        end if;
        caller_tokens[caller] := caller_tokens[caller] + count;
        caller_requests[caller] := caller_requests[caller] + 1;
      end if;
      if count <= small_max and count <= run_remaining and count > run_floor and run_remaining - count > run_floor then
        places[i] := place;
        run_remaining := run_remaining - count;
        if tight_rows is not null and leaf_at[i] > 0 then
          for p in tight_from[leaf_at[i]]..tight_to[leaf_at[i]] loop
            tight := tight_of[p];
            tight_room[tight] := tight_room[tight] - case tight_units[tight] when 1 then count when 2 then coalesce(costs[i], 0) else 1 end;
          end loop;
        end if;
        continue;
      end if;
      if run > 0 then
        node_delta[place] := node_delta[place] + sorted_remaining[run] - run_remaining;
        sorted_remaining[run] := run_remaining;
        run := 0;
        run_floor := none;
      end if;
      if sorted = 0 or sorted_remaining[sorted] < count then
        if all_held and sorted = 0 and pool <> 'default' and not pool = any (node_pool) then
          codes := coalesce(codes, array_fill(0, array[n]));
          codes[i] := 13;
        elsif all_held and not more_due then
          codes := coalesce(codes, array_fill(0, array[n]));
          codes[i] := 4;
          largest := coalesce(largest, array_fill(0::bigint, array[n]));
          largest[i] := case when sorted = 0 then 0 else greatest(sorted_remaining[sorted], 0) end;
          exhausted := true;
        else
          codes := coalesce(codes, array_fill(0, array[n]));
          codes[i] := 1;
        end if;
        placed := placed - 1;
        if bounded then
          caller_tokens[caller] := caller_tokens[caller] - count;
          caller_requests[caller] := caller_requests[caller] - 1;
        end if;
        continue;
      end if;
      -- The first, so of equals the lowest id, with at least: best, the count; largest, the most there is.
      remaining := case when count <= small_max then count else sorted_remaining[sorted] end;
      low := 1;
      high := sorted;
      while low < high loop
        middle := (low + high) / 2;
        if sorted_remaining[middle] < remaining then
          low := middle + 1;
        else
          high := middle;
        end if;
      end loop;
      p := low;
      place := sorted_places[p];
      remaining := sorted_remaining[p] - count;
      places[i] := place;
      node_delta[place] := node_delta[place] + count;
      -- Back into order: before the first that comes after (remaining, id).
      low := 1;
      high := p;
      while low < high loop
        middle := (low + high) / 2;
        if sorted_remaining[middle] < remaining
            or (sorted_remaining[middle] = remaining and sorted_places[middle] < place) then
          low := middle + 1;
        else
          high := middle;
        end if;
      end loop;
      if low < p then
        sorted_remaining :=
          sorted_remaining[:low - 1] || remaining || sorted_remaining[low:p - 1] || sorted_remaining[p + 1:];
        sorted_places := sorted_places[:low - 1] || place || sorted_places[low:p - 1] || sorted_places[p + 1:];
      else
        sorted_remaining[p] := remaining;
      end if;
      if count <= small_max then
        run := low;
        run_remaining := remaining;
        run_floor := case when low > 1 then sorted_remaining[low - 1] else -1 end;
      else
        strategies := coalesce(strategies, array_fill(1, array[n]));
        strategies[i] := 2;
      end if;
      if tight_rows is not null and leaf_at[i] > 0 then
        for p in tight_from[leaf_at[i]]..tight_to[leaf_at[i]] loop
          tight := tight_of[p];
          tight_room[tight] := tight_room[tight] - case tight_units[tight] when 1 then count when 2 then coalesce(costs[i], 0) else 1 end;
        end loop;
      end if;
    end loop;
    if run > 0 then
      node_delta[place] := node_delta[place] + sorted_remaining[run] - run_remaining;
      run := 0;
      run_remaining := 0;
      run_floor := none;
    end if;
    if windows then
      for p in 1..cardinality(names) loop
        window_delta[p] := window_delta[p] + node_delta[p] - delta_before[p];
      end loop;
    end if;
    end loop;
    fresh := new_requests;

    if touched and placed < cardinality(fresh) then
      -- What was refused comes off again.
      update periods p set used = p.used - case p.unit when 1 then b.tokens when 2 then b.cost else b.requests end
        from (
          select u.row_id, sum(r.tokens)::bigint as tokens, sum(r.cost)::bigint as cost, sum(r.requests)::bigint as requests
            from (
              select leaf_sets[leaf_at[f.i]] as set_id, sum(counts[f.i]) as tokens, sum(coalesce(costs[f.i], 0)) as cost, count(*) as requests
                from unnest(fresh) f (i) where places[f.i] = 0 and coalesce(codes[f.i], 0) not in (10, 11, 12, 15) group by 1
            ) r
              join charge_sets c on c.set_id = r.set_id cross join lateral unnest(c.rows) u (row_id)
            group by u.row_id
        ) b
        where p.row_id = b.row_id;
    end if;
    if tight_rows is not null and placed > 0 then
      -- No constraint can say this, since what is settled may exceed a ceiling: nothing was admitted to a row beyond it.
      if exists (
        select from (
          select distinct u.row_id
            from (select distinct leaf_sets[leaf_at[f.i]] as set_id from unnest(fresh) f (i) where places[f.i] > 0) s
              join charge_sets c on c.set_id = s.set_id cross join lateral unnest(c.rows) u (row_id)
        ) a
          join periods p on p.row_id = a.row_id
          where p.hard and p.used > p.ceiling + case when p.extra_until > clock then p.extra else 0 end
      ) then
        raise exception 'an allocation would take a limit over its ceiling';
      end if;
    end if;

    if placed > 0 then
      insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, state, strategy,
          expires_at, create_time, update_time, set_id, cost, window_start, labels)
        select r.tenant, r.request_id, r.subject, names[r.place], r.token_count, greatest(r.ttl, 0), 0, 1, coalesce(r.strategy, 1),
            case when r.ttl <> 0 then clock + make_interval(secs => abs(r.ttl)) end, clock, clock,
            nullif(leaf_sets[r.leaf], 0), coalesce(r.cost, 0), nullif(node_start[r.place], 0), r.labels
          from (
            select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(subjects) as subject,
              unnest(counts) as token_count, unnest(ttls) as ttl, unnest(places) as place,
              unnest(strategies) as strategy, unnest(costs) as cost, unnest(labels) as labels, unnest(leaf_at) as leaf
          ) r
          where r.place > 0;
      if 0 <> any (ttls) then
        insert into leases (expires_at, tenant, request_id)
          select clock + make_interval(secs => abs(r.ttl)), r.tenant, r.request_id
            from (
              select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(ttls) as ttl,
                unnest(places) as place
            ) r
            where r.place > 0 and r.ttl <> 0;
      end if;
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta, cost_delta, set_id, window_start)
        select batch, due + existing + r.position, clock, 1, names[r.place], r.tenant, r.request_id, r.token_count, 0, coalesce(r.cost, 0),
            nullif(leaf_sets[r.leaf], 0), nullif(node_start[r.place], 0)
          from (
            select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(counts) as token_count,
              unnest(places) as place, unnest(costs) as cost, unnest(leaf_at) as leaf, generate_subscripts(tenants, 1) as position
          ) r
          where r.place > 0;
    end if;
  end if;

  if bounded and placed > 0 then
      insert into callers as c (tenant, subject, tokens, requests)
        select r.tenant, r.subject, sum(r.tokens), sum(r.requests) from (
          select p.tenant, p.subject, p.tokens, 1 as requests
            from (
              select unnest(tenants) as tenant, unnest(subjects) as subject, unnest(counts) as tokens, unnest(places) as place
            ) p where p.place > 0
        ) r group by r.tenant, r.subject
        on conflict (tenant, subject) do update
          set tokens = c.tokens + excluded.tokens, requests = c.requests + excluded.requests;
  end if;

  if due + changes + placed > 0 then
    if windows then
      update nodes set used = nodes.used + d.delta,
          window_used = case when d.started = 0 then 0 when d.started = nodes.window_start then nodes.window_used + d.window_delta
            else d.window_delta end,
          window_start = d.started
        from (
          select unnest(names) as node_id, unnest(node_delta) as delta, unnest(window_delta) as window_delta, unnest(node_start) as started
        ) d
        where nodes.node_id = d.node_id and (d.delta <> 0 or d.window_delta <> 0);
    else
      update nodes set used = nodes.used + d.delta
        from (select unnest(names) as node_id, unnest(node_delta) as delta) d
        where nodes.node_id = d.node_id and d.delta <> 0;
    end if;
  end if;

  -- What somebody is told once a row: into the outbox, with what caused it.
  if crossed_rows is not null or overrun_rows is not null or refused_by is not null then
    named_rows := array(select distinct r.row_id from unnest(refused_by) r (row_id) where r.row_id > 0);
    with told as (
      insert into budget_events as b (kind, at, batch, tenant, account_id, limit_id, row_id, used, ceiling)
        select e.kind, clock, batch, a.tenant, p.account_id, p.limit_id, p.row_id, p.used,
            p.ceiling + case when p.extra_until > clock then p.extra else 0 end
          from (
            select 1 as kind, unnest(crossed_rows) as row_id
            union all select 2, unnest(crossed_rows)
            union all select 2, unnest(named_rows)
            union all select 3, unnest(overrun_rows)
          ) e
            join periods p on p.row_id = e.row_id join accounts a on a.account_id = p.account_id
          where case e.kind
            when 1 then p.used >= p.soft
            when 2 then p.row_id = any (named_rows) or (not p.hard and p.used > p.ceiling + case when p.extra_until > clock then p.extra else 0 end)
            else true end
            and not exists (select from budget_events x where x.row_id = p.row_id and x.kind = e.kind)
          group by e.kind, a.tenant, p.account_id, p.limit_id, p.row_id
        returning b.row_id, b.kind, b.used
    ), mine as (
      -- What this call has added to each row that warns now, by operation.
      select t.row_id, t.used, m.position, m.place,
          case p.unit when 1 then m.tokens when 2 then m.cost else m.requests end as amount,
          case t.kind when 1 then p.soft else p.ceiling + case when p.extra_until > clock then p.extra else 0 end + 1 end as mark
        from told t join periods p on p.row_id = t.row_id
          cross join lateral (
            select leaf_sets[leaf_at[f.i]] as set_id, f.i as position, 1 as place, counts[f.i] as tokens, coalesce(costs[f.i], 0) as cost, 1 as requests
              from unnest(new_requests) f (i) where places is null or places[f.i] > 0
            union all
            select x.set_id, x.position, 0, x.delta, x.cost, 0
              from (
                select unnest(ex_sets) as set_id, unnest(ex_at) as position, unnest(change_delta) as delta, unnest(change_cost) as cost,
                  unnest(change_kind) as kind
              ) x where changes > 0 and x.kind = 2
          ) m
          join charge_sets c on c.set_id = m.set_id and t.row_id = any (c.rows)
        where t.kind in (1, 2) and (t.kind = 1 or not p.hard)
    )
    select array_agg(w.position), array_agg(w.row_id) into warned_at, warned_rows
      from (
        select mine.position, mine.row_id, mine.mark, mine.amount,
            mine.used - coalesce(sum(mine.amount) over (
              partition by mine.row_id, mine.mark order by mine.place, mine.position rows between 1 following and unbounded following), 0) as after
          from mine
      ) w where w.after >= w.mark and w.after - w.amount < w.mark;
    named_rows := named_rows || coalesce(warned_rows, '{}');
    if cardinality(named_rows) > 0 then
      select jsonb_object_agg(p.row_id, jsonb_build_object('account', account_path(p.account_id), 'account_id', p.account_id, 'tenant', a.tenant,
            'limit', p.limit_id, 'unit', p.unit, 'period', l.period, 'hard', p.hard, 'used', p.used::text,
            'ceiling', (p.ceiling + case when p.extra_until > clock then p.extra else 0 end)::text,
            'soft_percent', l.soft_percent,
            'ends_us', case when isfinite(p.ends) then (extract(epoch from p.ends) * 1000000)::bigint::text end))::text
        into about
        from unnest(named_rows) r (row_id) join periods p on p.row_id = r.row_id
          join limits l on l.limit_id = p.limit_id join accounts a on a.account_id = p.account_id;
    end if;
  end if;
  if accounted and existing > 0 then
    ex_accounts := array(select coalesce((select c.account_id from charge_sets c where c.set_id = s.set_id), 0)
      from unnest(ex_sets) with ordinality s (set_id, o) order by s.o);
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
    -- A node that rests comes back, and a window begins anew.
    select least(next_expiry_us, min((extract(epoch from x.rest_until) * 1000000)::bigint) filter (where x.rest_until > clock),
        min((at_us / 1000000 / x.window_seconds + 1) * x.window_seconds * 1000000) filter (where x.window_seconds > 0))
      into next_expiry_us from nodes x where x.state = 1 and (x.window_seconds > 0 or x.rest_until > clock);
  end if;
end
$function$;
