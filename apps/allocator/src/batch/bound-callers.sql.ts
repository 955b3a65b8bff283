/**
 * Parts of `budget.apply_batch`, where callers are bounded: `callers` has what each holds, and is changed only by whoever has the
 * row of settings.
 */

const addSql = (rows: string) => `insert into callers as c (tenant, subject, tokens, requests)
        select r.tenant, r.subject, sum(r.tokens), sum(r.requests) from (
          ${rows}
        ) r group by r.tenant, r.subject
        on conflict (tenant, subject) do update
          set tokens = c.tokens + excluded.tokens, requests = c.requests + excluded.requests;`;

/** Takes off what this call gave back, and reads what the callers of new requests hold now. */
export const boundCallersSql = `  if bounded then
    if due + changes > 0 then
      ${addSql(`select unnest(due_tenants) as tenant, unnest(due_subjects) as subject, -unnest(due_counts) as tokens, -1 as requests
          union all
          select x.tenant, x.subject, x.delta, case when x.flying and x.kind <> 3 then -1 else 0 end
            from (
              select unnest(ex_tenants) as tenant, unnest(ex_subjects) as subject, unnest(change_delta) as delta,
                unnest(change_kind) as kind, unnest(ex_flying) as flying
            ) x where x.kind > 0`)}
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
  end if;`;

/** Adds what was placed. */
export const countPlacedSql = `  if bounded and placed > 0 then
      ${addSql(`select p.tenant, p.subject, p.tokens, 1 as requests
            from (
              select unnest(tenants) as tenant, unnest(subjects) as subject, unnest(counts) as tokens, unnest(places) as place
            ) p where p.place > 0`)}
  end if;`;
