/** Something that runs SQL within one transaction. */
export interface Reader {
  query(text: string): Promise<{ rows: Record<string, unknown>[] }>;
}

/** One rule that every state of the budget keeps. */
interface Rule {
  readonly name: string;
  /** Gives a row, with columns that name the place, for every breach; 20 at most. */
  readonly breaches: string;
}

/** What an allocation counts for in its node's `used`. */
const held = `case a.state when 1 then a.token_count when 2 then a.settled else 0 end`;

/** All of the ledger, what was carried forward from dropped months first. */
const entries = `(
  select 0::bigint as batch, 0 as ordinal, 0::smallint as kind, node_id, tenant, request_id, delta, capacity_delta from ledger_opening
  union all
  select batch, ordinal, kind, node_id, tenant, request_id, delta, capacity_delta from ledger
)`;

/** What the entries that are charged to accounts add up to, by charge set. */
const charged = `(
  select set_id, delta, cost_delta, requests, 0::bigint as batch, 0 as ordinal, 0 as kind, null::timestamptz as at
    from ledger_opening where set_id is not null
  union all
  select set_id, delta, cost_delta, case when kind = 1 then 1 when kind in (4, 5) then -1 else 0 end, batch, ordinal, kind, at
    from ledger where set_id is not null
)`;

/** In the unit of the row of a period `p`. */
const inUnit = (tokens: string, cost: string, requests: string) =>
  `case p.unit when 1 then ${tokens} when 2 then ${cost} else ${requests} end`;

const rules: readonly Rule[] = [
  {
    name: 'the used and the capacity of a node are the sums of its entries in the ledger',
    breaches: `
      select node_id, n.used, coalesce(l.used, 0) as ledger_used, n.capacity, coalesce(l.capacity, 0) as ledger_capacity
        from nodes n full join
          (select node_id, sum(delta) as used, sum(capacity_delta) as capacity from ${entries} e group by node_id) l using (node_id)
        where coalesce(n.used, 0) <> coalesce(l.used, 0) or coalesce(n.capacity, 0) <> coalesce(l.capacity, 0)`,
  },
  {
    name: 'the used of a node is the sum of its live allocations',
    breaches: `
      select node_id, n.used, coalesce(l.used, 0) as live
        from nodes n full join (select node_id, sum(${held}) as used from allocations a where state in (1, 2) group by node_id) l
          using (node_id)
        where coalesce(n.used, 0) <> coalesce(l.used, 0)`,
  },
  {
    name: 'an allocation holds the sum of its entries in the ledger',
    breaches: `
      select tenant, request_id, coalesce(a.held, 0) as held, coalesce(l.held, 0) as ledger_held
        from (select tenant, request_id, sum(${held}) as held from allocations a group by tenant, request_id) a
          full join (select tenant, request_id, sum(delta) as held from ${entries} e
                       where request_id is not null group by tenant, request_id) l using (tenant, request_id)
        where coalesce(a.held, 0) <> coalesce(l.held, 0)`,
  },
  {
    name: 'at every entry of the ledger: 0 ≤ used, and no allocation went beyond the capacity of its node',
    breaches: `
      select node_id, batch, ordinal, used, capacity
        from (select node_id, batch, ordinal, kind, sum(delta) over balance as used, sum(capacity_delta) over balance as capacity
                from ${entries} e window balance as (partition by node_id order by batch, ordinal)) b
        where batch > 0 and (used < 0 or (kind = 1 and used > capacity))`,
  },
  {
    name: 'every lease belongs to a live allocation, and the reverse',
    breaches: `
      select tenant, request_id, a.expires_at, l.expires_at as lease
        from leases l full join
          (select tenant, request_id, expires_at from allocations where state = 1 and expires_at is not null) a
          using (tenant, request_id)
        where a.expires_at is distinct from l.expires_at`,
  },
  {
    name: 'what is used of a limit in a period is the sum of its entries in the ledger',
    breaches: `
      select row_id, p.used, coalesce(${inUnit('l.tokens', 'l.cost', 'l.requests')}, 0) as ledger_used
        from periods p full join (
          select u.row_id, sum(e.tokens) as tokens, sum(e.cost) as cost, sum(e.requests) as requests
            from (select set_id, sum(delta) as tokens, sum(cost_delta) as cost, sum(requests) as requests from ${charged} e group by set_id) e
              join charge_sets c on c.set_id = e.set_id cross join lateral unnest(c.rows) u (row_id)
            group by u.row_id) l using (row_id)
        where coalesce(p.used, 0) <> coalesce(${inUnit('l.tokens', 'l.cost', 'l.requests')}, 0)`,
  },
  {
    name: 'what is used of a limit in a period is the sum of the live allocations that are charged to it',
    breaches: `
      select row_id, p.used, coalesce(${inUnit('l.tokens', 'l.cost', 'l.requests')}, 0) as live
        from periods p full join (
          select u.row_id, sum(e.tokens) as tokens, sum(e.cost) as cost, sum(e.requests) as requests
            from (
              select set_id, sum(${held}) as tokens, sum(case a.state when 1 then a.cost else a.settled_cost end) as cost, count(*) as requests
                from allocations a where state in (1, 2) and set_id is not null group by set_id) e
              join charge_sets c on c.set_id = e.set_id cross join lateral unnest(c.rows) u (row_id)
            group by u.row_id) l using (row_id)
        where coalesce(p.used, 0) <> coalesce(${inUnit('l.tokens', 'l.cost', 'l.requests')}, 0)`,
  },
  {
    name: 'at every entry of the ledger: no allocation took a limit over its ceiling as that was then',
    breaches: `
      select row_id, batch, ordinal, used, ceiling from (
        select b.row_id, b.batch, b.ordinal, b.kind, b.used,
            coalesce(c.ceiling_before, b.ceiling)
              + case when b.at < (case when c.batch is null then b.extra_until else c.extra_until_before end)
                  then coalesce(c.extra_before, b.extra) else 0 end as ceiling
          from (
            select p.row_id, e.batch, e.ordinal, e.kind, e.at, p.ceiling, p.extra, p.extra_until,
                sum(${inUnit('e.delta', 'e.cost_delta', 'e.requests')}) over (partition by p.row_id order by e.batch, e.ordinal) as used
              from ${charged} e join charge_sets c on c.set_id = e.set_id cross join lateral unnest(c.rows) u (row_id)
                join periods p on p.row_id = u.row_id and p.hard) b
            left join lateral (
              select * from budget_changes c where c.row_id = b.row_id and c.batch > b.batch order by c.batch limit 1) c on true
          where b.batch > 0) r
        where used < 0 or (kind = 1 and used > ceiling)`,
  },
  {
    name: 'a limit has one row for each period',
    breaches: `select limit_id, starts, count(*) from periods group by limit_id, starts having count(*) > 1`,
  },
  {
    name: 'where callers are bounded, what each holds is the sum of its live allocations',
    breaches: `
      select tenant, subject, coalesce(c.tokens, 0) as tokens, coalesce(h.tokens, 0) as live, coalesce(c.requests, 0) as requests,
          coalesce(h.requests, 0) as in_flight
        from callers c full join
          (select tenant, subject, sum(${held}) as tokens, count(*) filter (where state = 1) as requests
             from allocations a where state in (1, 2) group by tenant, subject) h using (tenant, subject)
        where exists (select from settings where caller_tokens_max > 0 or caller_requests_max > 0)
          and (coalesce(c.tokens, 0) <> coalesce(h.tokens, 0) or coalesce(c.requests, 0) <> coalesce(h.requests, 0))`,
  },
];

/** How the budget stands, by rule. */
export interface Verification {
  readonly nodes: number;
  readonly used: string;
  readonly capacity: string;
  readonly liveAllocations: string;
  readonly ledgerEntries: string;
  /** Nodes that were shrunk under what they hold: allowed, and nothing remains on them. */
  readonly shrunk: readonly string[];
  readonly rules: readonly { readonly name: string; readonly breaches: readonly Record<string, unknown>[] }[];
  readonly ok: boolean;
}

/**
 * Recomputes every balance from the ledger and from the allocations, and compares. Reads everything: seconds for a million entries.
 *
 * @param reader within one `repeatable read` transaction whose search path has the schema of the budget
 */
export async function verify(reader: Reader): Promise<Verification> {
  const { rows } = await reader.query(`
    select (select count(*)::int from nodes) as nodes, (select coalesce(sum(used), 0)::text from nodes) as used,
      (select coalesce(sum(capacity), 0)::text from nodes) as capacity,
      (select count(*)::text from allocations where state in (1, 2)) as live, (select count(*)::text from ledger) as entries,
      array(select node_id from nodes where used > capacity order by node_id) as shrunk`);
  const totals = rows[0] as {
    nodes: number;
    used: string;
    capacity: string;
    live: string;
    entries: string;
    shrunk: string[];
  };
  const checked = [];
  for (const { name, breaches } of rules) {
    checked.push({ name, breaches: (await reader.query(`${breaches} limit 20`)).rows });
  }
  return {
    nodes: totals.nodes,
    used: totals.used,
    capacity: totals.capacity,
    liveAllocations: totals.live,
    ledgerEntries: totals.entries,
    shrunk: totals.shrunk,
    rules: checked,
    ok: checked.every(({ breaches }) => breaches.length === 0),
  };
}
