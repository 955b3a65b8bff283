-- version 2
--
-- budget.apply_batch: what replicas of the former release call while they run beside those of this one. It decides by apply_operations, so
-- that what they settle, free and expire returns to the limits that were charged, and what they allocate is charged to the tenant's
-- root. They know the codes up to 8: a limit of an account is to them a node without room.
create or replace function apply_batch(
  kinds int[], tenants text[], request_ids text[], subjects text[], privileged boolean[],
  counts bigint[], ttls bigint[],
  look_up boolean, wait boolean, sweep_max int,
  out at_us bigint, out next_expiry_us bigint, out more_due boolean, out names text[],
  out codes int[], out places int[], out place_of_all int, out strategies int[], out largest bigint[],
  out ex_at int[], out ex_nodes text[], out ex_states int[], out ex_strategies int[], out ex_counts bigint[],
  out ex_settled bigint[], out ex_expires bigint[], out ex_created bigint[]
) language plpgsql as $function$
declare
  result record;
  callers text[];
begin
  callers := array(select distinct t from unnest(tenants) t);
  select * into result from apply_operations(
    kinds, tenants, request_ids, subjects, privileged, counts, ttls, null, null,
    array(select array_position(callers, t.tenant) from unnest(tenants) with ordinality t (tenant, o) order by t.o),
    callers, array(select E'\n\n' from unnest(callers)), null, false, false, look_up, wait, sweep_max);
  at_us := result.at_us;
  next_expiry_us := result.next_expiry_us;
  more_due := result.more_due;
  names := result.names;
  codes := array(
    select case when c.code = 14 then 6 when c.code >= 9 then 4 else c.code end from unnest(result.codes) with ordinality c (code, o) order by c.o);
  if result.codes is null then
    codes := null;
  end if;
  places := result.places;
  place_of_all := result.place_of_all;
  strategies := result.strategies;
  largest := coalesce(result.largest, array_fill(0::bigint, array[coalesce(cardinality(kinds), 0)]));
  ex_at := result.ex_at;
  ex_nodes := result.ex_nodes;
  ex_states := result.ex_states;
  ex_strategies := result.ex_strategies;
  ex_counts := result.ex_counts;
  ex_settled := result.ex_settled;
  ex_expires := result.ex_expires;
  ex_created := result.ex_created;
end
$function$;
