/** A part of `budget.apply_batch`: chooses a node for every new request, in order of arrival, and writes the allocations. */
export const placeNewSql = `  if cardinality(fresh) > 0 then
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
  end if;`;
