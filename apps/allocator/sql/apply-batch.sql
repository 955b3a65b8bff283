-- version 1
--
-- budget.apply_batch: every change of an allocation, a whole batch in one call and one transaction.
--
-- Arguments, matched by position: one operation an element, no two of one (tenant, request id).
--   kinds       1 allocate, 2 settle, 3 extend, 4 free
--   tenants, request_ids, subjects   whose allocation, and who asks
--   privileged  the caller may act for every subject of the tenant
--   counts      tokens to allocate or to settle; 0 otherwise
--   ttls        seconds of the lease; 0: none; below zero: the caller asked for none, and gets one of as many seconds by default
--   look_up     some of the allocations may exist. Without it all must be new ones, at half the reads; one that
--               exists after all fails the call with an exclusion violation, and it is repeated with look_up
--   wait        wait for nodes that another transaction holds, instead of passing over them
--   sweep_max   leases ended at most by this call
--
-- Results: `codes`, `places` (an index of `names`) and `strategies` by position. Null stands for what is usual: every code 0,
-- every place `place_of_all`, every strategy 1. `ex_*` describe the allocations that existed before, `ex_at` being
-- the position. Codes (src/batch/operation.ts has their meaning):
--   0 done, 1 again, 2 not found, 3 mismatch, 4 exhausted, 5 more than allocated, 6 ended,
--   7 the caller holds too many tokens, 8 the caller has too many allocations in flight
-- `largest` is what could have been given: with 4 by one node, with 7 to this caller.
--
-- Locks. A transaction changes an allocation only while it holds the row of the allocation's node, so node rows are
-- the only locks: they are taken first, before anything is read, either with SKIP LOCKED (which never waits) or all
-- in order of their id (which cannot form a cycle). Waiting while holding only some of them would, so what needs a
-- node that was passed over is answered `again`, and comes back in a call that waits. With every node passed over
-- nothing is held, and this call waits itself.
--
-- Where callers are bounded, the row of settings is locked after the nodes, and whoever has it knows what every caller holds: two
-- replicas can hold different nodes, but not this row. Nothing is waited for while it is held.
--
-- Order. Leases end first, then what gives back, then allocations in the order of the arrays. `batch` is drawn under
-- the locks: for any one node the entries of the ledger, ordered by batch and ordinal, are in the order in which they
-- were committed.
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

  if any_due then
    select array_agg(ended.tenant), array_agg(ended.request_id), array_agg(ended.node_id), array_agg(ended.token_count),
        array_agg(ended.subject), array_agg(array_position(names, ended.node_id)), count(*)
      into due_tenants, due_ids, due_nodes, due_counts, due_subjects, due_places, due
      from (
        select l.tenant, l.request_id, a.subject, a.node_id, a.token_count
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
    end loop;
    if due > 0 then
      delete from leases l using allocations a, (select unnest(due_tenants) as tenant, unnest(due_ids) as request_id) d
        where allocation_key(a.tenant, a.request_id) = allocation_key(d.tenant, d.request_id)
          and l.expires_at = a.expires_at and l.tenant = a.tenant and l.request_id = a.request_id;
      update allocations a set state = 4, update_time = clock
        from (select unnest(due_tenants) as tenant, unnest(due_ids) as request_id) d
        where allocation_key(a.tenant, a.request_id) = allocation_key(d.tenant, d.request_id);
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
        select batch, d.ordinal, clock, 5, d.node_id, d.tenant, d.request_id, -d.token_count, 0
          from (
            select unnest(due_tenants) as tenant, unnest(due_ids) as request_id, unnest(due_nodes) as node_id,
              unnest(due_counts) as token_count, generate_subscripts(due_tenants, 1) as ordinal
          ) d;
    end if;
  end if;

  if look_up then
    codes := array_fill(0, array[n]);
    ex_index := array_fill(0, array[n]);
    select array_agg(f.position), array_agg(f.node_id), array_agg(f.place), array_agg(f.state), array_agg(f.strategy),
        array_agg(f.token_count), array_agg(f.settled), array_agg(f.ttl_seconds), array_agg(f.theirs),
        array_agg(f.lease), array_agg(f.expires_us), array_agg(f.created_us), array_agg(f.tenant), array_agg(f.request_id),
        array_agg(f.subject), array_agg(f.state = 1), count(*)
      into ex_at, ex_nodes, ex_places, ex_states, ex_strategies, ex_counts, ex_settled, ex_ttls, ex_theirs, ex_lease,
        ex_expires, ex_created, ex_tenants, ex_ids, ex_subjects, ex_flying, existing
      from (
        select k.position, a.tenant, a.request_id, a.subject, a.node_id, array_position(names, a.node_id) as place,
            a.state::int, a.strategy::int, a.token_count, a.settled, a.ttl_seconds,
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
      if kind = 1 and (ex_counts[e] <> counts[i] or ex_ttls[e] <> greatest(ttls[i], 0)) then
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
        changes := changes + 1;
        node_delta[place] := node_delta[place] + delta;
        node_remaining[place] := node_remaining[place] - delta;
        ex_states[e] := state;
      end if;
      if kind = 1 then
        if state > 1 then
          codes[i] := 6;
        end if;
        continue;
      end if;
      delta := 0;
      lease := ex_lease[e];
      if kind = 2 then
        if state = 2 then
          codes[i] := case when ex_settled[e] = counts[i] then 0 else 3 end;
          continue;
        elsif state <> 1 then
          codes[i] := 6;
          continue;
        elsif counts[i] > ex_counts[e] then
          codes[i] := 5;
          continue;
        end if;
        delta := counts[i] - ex_counts[e];
        state := 2;
        ex_settled[e] := counts[i];
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
        delta := case when state = 1 then -ex_counts[e] else -ex_settled[e] end;
        state := 3;
      end if;
      change_kind[e] := kind;
      change_delta[e] := delta;
      change_lease[e] := lease;
      changes := changes + 1;
      node_delta[place] := node_delta[place] + delta;
      node_remaining[place] := node_remaining[place] - delta;
      ex_states[e] := state;
    end loop;

    if changes > 0 then
      delete from leases l using (
        select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_lease) as lease,
          unnest(change_kind) as kind
      ) c
        where c.kind > 0 and l.expires_at = c.lease and l.tenant = c.tenant and l.request_id = c.request_id;
      update allocations a
        set state = c.state, settled = c.settled, expires_at = c.lease, update_time = clock
        from (
          select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_states) as state,
            unnest(ex_settled) as settled, unnest(change_lease) as lease, unnest(change_kind) as kind
        ) c
        where c.kind > 0 and allocation_key(a.tenant, a.request_id) = allocation_key(c.tenant, c.request_id);
      insert into leases (expires_at, tenant, request_id)
        select c.lease, c.tenant, c.request_id
          from (
            select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(change_lease) as lease,
              unnest(change_kind) as kind
          ) c where c.kind = 3;
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
        select batch, due + c.ordinal, clock, c.kind, c.node_id, c.tenant, c.request_id, c.delta, 0
          from (
            select unnest(ex_tenants) as tenant, unnest(ex_ids) as request_id, unnest(ex_nodes) as node_id,
              unnest(change_kind) as kind, unnest(change_delta) as delta,
              generate_subscripts(ex_tenants, 1) as ordinal
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

  if cardinality(fresh) > 0 then
    select array_agg(o.remaining order by o.remaining, o.place), array_agg(o.place order by o.remaining, o.place),
        count(*)
      into sorted_remaining, sorted_places, sorted
      from (
        select unnest(node_remaining) as remaining, unnest(node_active) as active,
          generate_subscripts(node_remaining, 1) as place
      ) o where o.active;
    placed := cardinality(fresh);
    places := array_fill(0, array[n]);
    small_max := case when strategy_now = 1 then threshold else 0 end;
    if placed >= together_min and not bounded then
      select min(counts[f]), max(counts[f]), sum(counts[f]) into least_count, most_count, total from unnest(fresh) f;
      p := 1;
      while p <= sorted and sorted_remaining[p] < least_count loop
        p := p + 1;
      end loop;
      if p <= sorted and most_count <= small_max and total <= sorted_remaining[p] then
        place := sorted_places[p];
        node_delta[place] := node_delta[place] + total;
        if placed = n then
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
        continue;
      end if;
      if run > 0 then
        node_delta[place] := node_delta[place] + sorted_remaining[run] - run_remaining;
        sorted_remaining[run] := run_remaining;
        run := 0;
        run_floor := none;
      end if;
      if sorted = 0 or sorted_remaining[sorted] < count then
        if all_held and not more_due then
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
    end loop;
    if run > 0 then
      node_delta[place] := node_delta[place] + sorted_remaining[run] - run_remaining;
    end if;

    if placed > 0 then
      insert into allocations (tenant, request_id, subject, node_id, token_count, ttl_seconds, settled, state, strategy,
          expires_at, create_time, update_time)
        select r.tenant, r.request_id, r.subject, names[r.place], r.token_count, greatest(r.ttl, 0), 0, 1, coalesce(r.strategy, 1),
            case when r.ttl <> 0 then clock + make_interval(secs => abs(r.ttl)) end, clock, clock
          from (
            select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(subjects) as subject,
              unnest(counts) as token_count, unnest(ttls) as ttl, unnest(places) as place,
              unnest(strategies) as strategy
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
      insert into ledger (batch, ordinal, at, kind, node_id, tenant, request_id, delta, capacity_delta)
        select batch, due + existing + r.position, clock, 1, names[r.place], r.tenant, r.request_id, r.token_count, 0
          from (
            select unnest(tenants) as tenant, unnest(request_ids) as request_id, unnest(counts) as token_count,
              unnest(places) as place, generate_subscripts(tenants, 1) as position
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
$function$;
