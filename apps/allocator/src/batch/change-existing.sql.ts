/** A part of `budget.apply_batch`: looks the allocations up that exist, and settles, extends, frees or repeats; `fresh` are the positions of new ones. */
export const changeExistingSql = `  if look_up then
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
  end if;`;
