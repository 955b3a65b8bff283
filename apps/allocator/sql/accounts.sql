-- version 2
--
-- The functions of accounts: periods in time zones, references, and the rows that a path is charged to.

-- The time that decides: the database's. Tests move it for their session.
create or replace function budget_clock() returns timestamptz language sql volatile parallel safe as $function$
  select coalesce(nullif(current_setting('budget.clock', true), '')::timestamptz, clock_timestamp())
$function$;

-- The first instant at which clocks in the zone show this time. Postgres takes the later one where clocks are set back over midnight, as
-- in Havana; that would begin a day after its first hour.
create or replace function first_instant(local timestamp, zone text) returns timestamptz language sql stable parallel safe as $function$
  select case
    when ((i.later - interval '1 hour') at time zone zone) = local then i.later - interval '1 hour'
    when ((i.later - interval '30 minutes') at time zone zone) = local then i.later - interval '30 minutes'
    else i.later end
    from (select local at time zone zone as later) i
$function$;

-- The bounds of the period that an instant is in. Periods: 0 total, 1 minute, 2 hour, 3 day, 4 week, 5 month. Minutes and hours are those
-- of UTC: a zone whose clocks move by half an hour has hours of 30 and 90 minutes.
create or replace function period_bounds(period int, zone text, week_start int, at timestamptz, out starts timestamptz, out ends timestamptz)
  language plpgsql stable parallel safe as $function$
declare
  local timestamp;
  step interval;
begin
  if period = 0 then
    starts := '-infinity';
    ends := 'infinity';
  elsif period <= 2 then
    step := case period when 1 then interval '1 minute' else interval '1 hour' end;
    starts := date_trunc(case period when 1 then 'minute' else 'hour' end, at, 'UTC');
    ends := starts + step;
  else
    local := at at time zone zone;
    if period = 3 then
      step := interval '1 day';
      local := date_trunc('day', local);
    elsif period = 4 then
      step := interval '7 days';
      local := date_trunc('week', local - make_interval(days => week_start - 1)) + make_interval(days => week_start - 1);
    else
      step := interval '1 month';
      local := date_trunc('month', local);
    end if;
    starts := first_instant(local, zone);
    ends := first_instant(local + step, zone);
    -- A day that a zone has left out altogether (Apia, 2011-12-30) ends when it begins: the next one is the end.
    if ends <= at then
      ends := first_instant(local + 2 * step, zone);
    end if;
    if starts > at then
      starts := first_instant(local - step, zone);
    end if;
  end if;
end
$function$;

-- An account of a tenant by its id (`acc_12`) or its path of names below the root (`search/indexer`; empty: the root). Null: none.
create or replace function find_account(of_tenant text, reference text) returns bigint language plpgsql stable as $function$
declare
  found_id bigint;
  step text;
begin
  if reference ~ '^acc_[0-9]{1,18}$' then
    select a.account_id into found_id from accounts a where a.account_id = substr(reference, 5)::bigint and a.tenant = of_tenant;
    return found_id;
  end if;
  select a.account_id into found_id from accounts a where a.tenant = of_tenant and coalesce(a.parent, 0) = 0 and a.name = '';
  if reference <> '' then
    foreach step in array string_to_array(reference, '/') loop
      exit when found_id is null;
      select a.account_id into found_id from accounts a
        where a.tenant = of_tenant and coalesce(a.parent, 0) = found_id and a.name = step;
    end loop;
  end if;
  return found_id;
end
$function$;

-- The names from below the root down to an account, joined by slashes.
create or replace function account_path(of_account bigint) returns text language sql stable as $function$
  with recursive up as (
    select a.account_id, a.parent, a.name, 0 as distance from accounts a where a.account_id = of_account
    union all
    select a.account_id, a.parent, a.name, up.distance + 1 from up join accounts a on a.account_id = up.parent
  )
  select coalesce(string_agg(up.name, '/' order by up.distance desc) filter (where up.parent is not null), '') from up
$function$;

-- Whom a request is charged to. A reference has three lines: the caller's own account, the one that was asked for, and `guest` or nothing.
-- States: 0 nobody, since the tenant has no accounts; 1 this account; 10 no such account below the caller's own; 11 closed;
-- 12 the caller's own does not exist.
create or replace function resolve_reference(of_tenant text, reference text, out state int, out account bigint)
  language plpgsql stable as $function$
declare
  parts text[] := string_to_array(reference, E'\n');
  own bigint;
  up bigint;
  closed boolean := false;
begin
  own := find_account(of_tenant, parts[1]);
  if parts[1] = '' and parts[3] = 'guest' then
    own := coalesce(find_account(of_tenant, 'guests'), own);
  end if;
  if own is null then
    state := case when parts[1] <> '' then 12 when parts[2] <> '' then 10 else 0 end;
    return;
  end if;
  account := case when parts[2] = '' then own else find_account(of_tenant, parts[2]) end;
  state := 10;
  up := account;
  while up is not null loop
    if up = own then
      state := 1;
    end if;
    select a.parent, closed or a.state = 2 into up, closed from accounts a where a.account_id = up;
  end loop;
  if state = 1 and closed then
    state := 11;
  end if;
end
$function$;

-- Under the lock of the settings: the charge sets of these references for the periods of this instant. Rows of periods are made where they
-- are missing, and so are sets. What can be kept goes into leaf_current.
create or replace function resolve_leaves(at_positions int[], of_tenants text[], of_references text[], clock timestamptz)
  returns table (at_position int, leaf_state int, leaf_set bigint, leaf_account bigint) language plpgsql as $function$
#variable_conflict use_column
declare
  found_states int[] := '{}';
  found_accounts bigint[] := '{}';
  found record;
  i int;
begin
  for i in 1..cardinality(at_positions) loop
    select r.state, r.account into found from resolve_reference(of_tenants[i], of_references[i]) r;
    found_states := found_states || found.state;
    found_accounts := found_accounts || coalesce(found.account, 0);
  end loop;
  return query
    with recursive leaf as materialized (
      select l.at_position, l.tenant, l.reference, l.state, l.account
        from unnest(at_positions, of_tenants, of_references, found_states, found_accounts) l (at_position, tenant, reference, state, account)
    ), path as (
      select l.account as leaf, l.account as account_id from (select distinct account from leaf where state = 1) l
      union all
      select path.leaf, a.parent from path join accounts a on a.account_id = path.account_id where a.parent is not null
    ), wanted as materialized (
      select l.limit_id, l.account_id, l.amount, l.soft_percent, l.hard, l.unit, l.extra, l.extra_until, w.starts, w.ends,
          (select p.row_id from periods p where p.limit_id = l.limit_id and p.starts = w.starts) as row_id
        from (select distinct account_id from path) x
          join limits l on l.account_id = x.account_id
          cross join lateral period_bounds(l.period, l.zone, l.week_start, clock) w
    ), made as (
      insert into periods (row_id, limit_id, account_id, starts, ends, ceiling, soft, hard, unit, extra, extra_until)
        select nextval('row_seq'), w.limit_id, w.account_id, w.starts, w.ends, w.amount, soft_mark(w.amount, w.soft_percent), w.hard, w.unit,
            w.extra, w.extra_until
          from wanted w where w.row_id is null
        returning row_id, limit_id
    ), rows_of as (
      select w.account_id, coalesce(w.row_id, made.row_id) as row_id, w.starts, w.ends
        from wanted w left join made on made.limit_id = w.limit_id
    ), sets as (
      insert into charge_sets (set_id, account_id, starts, ends, rows)
        select nextval('row_seq'), path.leaf, coalesce(max(r.starts), '-infinity'), coalesce(min(r.ends), 'infinity'),
            coalesce(array_agg(r.row_id order by r.row_id) filter (where r.row_id is not null), '{}')
          from path left join rows_of r on r.account_id = path.account_id
          group by path.leaf
        returning set_id, account_id, starts, ends
    ), kept as (
      insert into leaf_current as c (tenant, reference, set_id, account_id, starts, ends)
        select l.tenant, l.reference, coalesce(s.set_id, 0), l.account, coalesce(s.starts, '-infinity'), coalesce(s.ends, 'infinity')
          from leaf l left join sets s on s.account_id = l.account where l.state <= 1
        on conflict (tenant, reference) do update
          set set_id = excluded.set_id, account_id = excluded.account_id, starts = excluded.starts, ends = excluded.ends
    )
    select l.at_position, l.state, coalesce(s.set_id, 0), l.account from leaf l left join sets s on s.account_id = l.account;
end
$function$;

-- From where on a row warns; above everything for no percentage.
create or replace function soft_mark(amount bigint, percent int) returns bigint language sql immutable parallel safe as $function$
  select case when percent = 0 then 9223372036854775807 else (amount::numeric * percent / 100)::bigint end
$function$;
