/** A part of `budget.apply_batch`: ends leases whose time is over, on the nodes that are held, `sweep_max` at most. */
export const sweepLeasesSql = `  if any_due then
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
  end if;`;
