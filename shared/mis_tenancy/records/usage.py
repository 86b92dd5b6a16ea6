"""The ledger's half of the drain's statement: what was really inserted into the audit log is added up here.

It continues a WITH list that has `incoming` (the records, with their `moment` in ms, `route`, latency
`bucket` and `feature`) and `inserted` (the ids that were new). All records of a statement are of the tenant
$1. The moment of its last use is added to an API key here, too, once a minute at most.
"""

from typing import Final

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})


def route_of(action: str) -> str:
    """Return the route that a request's `action` is counted under.

    A client can invent methods without end, and each would be a row; the invented ones share a name.
    """
    method, _, template = action.partition(" ")
    return action if method in _METHODS else f"OTHER {template}"


def _sum(*columns: str) -> str:
    return ", ".join(f"{column} = ledger.{column} + excluded.{column}" for column in columns)


# What jsonb_object_agg(name, n) makes, which is not immutable, as Citus asks of what updates a row. A quote
# within a name stands behind a backslash, so only values lose theirs.
_OBJECT: Final = r"""
    regexp_replace(
        jsonb_object(array_agg(name), array_agg(n::text))::text, '": "(\d+)"', '": \1', 'g'
    )::jsonb"""


def _merge(*columns: str) -> str:
    return ", ".join(
        f"""{column} = case when excluded.{column} = '{{}}' then ledger.{column} else (
            select {_OBJECT} from (
                select name, sum(n::bigint)::bigint as n from (
                    select * from jsonb_each_text(ledger.{column})
                    union all select * from jsonb_each_text(excluded.{column})
                ) as both_maps (name, n) group by name
            ) as merged
        ) end"""  # noqa: S608  # names of columns from this file
        for column in columns
    )


_COUNTS: Final = ("requests", "errors", "client_errors", "rejected")
_COUNTED: Final = """
       count(*) as requests,
       count(*) filter (where status between 500 and 599) as errors,
       count(*) filter (where status between 400 and 499) as client_errors,
       count(*) filter (where status = 429 or rejected) as rejected"""
_MAPS: Final = """
       coalesce(jsonb_object_agg(name, n) filter (where kind = 'latency'), '{}') as latency,
       coalesce(jsonb_object_agg(name, n) filter (where kind = 'status'), '{}') as statuses,
       coalesce(jsonb_object_agg(name, n) filter (where kind = 'feature'), '{}') as features"""

USAGE: Final = f""", fresh as materialized (
    select moment, hour, hour / 24 as day, route, actor, actor_kind, status, bucket, feature, counted,
           rejected
      from incoming join inserted using (id)
     where kind = 'request'
), marks as materialized (
    select hour, mark.kind, mark.name, count(*) as n
      from fresh cross join lateral (
           values ('latency', bucket::text),
                  ('status', coalesce(status::text, 'unknown')),
                  ('feature', feature)
           ) as mark (kind, name)
     where mark.name is not null
     group by hour, mark.kind, mark.name
), hours as materialized (
    select hour,{_COUNTED},
           count(*) filter (where counted) as counted
      from fresh group by hour
), hour_maps as (
    select hour,{_MAPS}
      from marks group by hour
), day_maps as (
    select day,{_MAPS}
      from (select hour / 24 as day, kind, name, sum(n)::bigint as n from marks group by 1, 2, 3) as summed
     group by day
), into_hours as (
    insert into usage_hours as ledger
           (tenant_id, hour, requests, errors, client_errors, rejected, counted, latency, statuses, features)
    select $1, to_timestamp(hour * 3600), requests, errors, client_errors, rejected, counted,
           latency, statuses, features
      from hours join hour_maps using (hour)
    on conflict (tenant_id, hour) do update
       set {_sum(*_COUNTS, "counted")}, {_merge("latency", "statuses", "features")}
), into_days as (
    insert into usage_days as ledger
           (tenant_id, day, requests, errors, client_errors, rejected, counted, hours,
            latency, statuses, features)
    select $1, to_timestamp(day * 86400), requests, errors, client_errors, rejected, counted,
           by_hour, latency, statuses, features
      from (select hour / 24 as day, sum(requests) as requests, sum(errors) as errors,
                   sum(client_errors) as client_errors, sum(rejected) as rejected, sum(counted) as counted,
                   jsonb_object_agg((hour % 24)::text, requests) as by_hour
              from hours group by 1) as days
      join day_maps using (day)
    on conflict (tenant_id, day) do update
       set {_sum(*_COUNTS, "counted")}, {_merge("hours", "latency", "statuses", "features")}
), into_routes as (
    insert into usage_route_days as ledger
           (tenant_id, day, route, requests, errors, client_errors, rejected, latency)
    select $1, to_timestamp(day * 86400), route, requests, errors, client_errors, rejected,
           coalesce(latency, '{{}}')
      from (select day, route,{_COUNTED} from fresh group by day, route) as routes
      left join (select day, route, jsonb_object_agg(bucket::text, n) as latency
                   from (select day, route, bucket, count(*) as n
                           from fresh where bucket is not null group by day, route, bucket) as timed
                  group by day, route) as timings using (day, route)
    on conflict (tenant_id, day, route) do update
       set {_sum(*_COUNTS)}, {_merge("latency")}
), into_users as (
    insert into usage_user_days as ledger
           (tenant_id, day, actor, actor_kind, requests, errors, client_errors, rejected, hours)
    select $1, to_timestamp(day * 86400), actor, coalesce(min(actor_kind), 'unknown'),{_COUNTED},
           bit_or(1 << (hour % 24)::int)
      from fresh where actor is not null group by day, actor
    on conflict (tenant_id, day, actor) do update
       set {_sum(*_COUNTS)}, hours = ledger.hours | excluded.hours
), into_keys as (
    update api_keys as used set last_used_at = latest.at
      from (select actor, to_timestamp(max(moment) / 1000.0) as at,
                   to_timestamp(max(moment) / 1000.0 - 60) as a_minute_before
              from fresh where actor_kind = 'api_key' group by actor) as latest
     where used.tenant_id = $1 and used.id = latest.actor
       and (used.last_used_at is null or used.last_used_at < latest.a_minute_before)
)
insert into usage_members as ledger (tenant_id, user_id, last_hour)
select $1, actor, to_timestamp(max(hour) * 3600)
  from fresh where actor_kind = 'member' and actor is not null group by actor
on conflict (tenant_id, user_id) do update
   set last_hour = excluded.last_hour where ledger.last_hour < excluded.last_hour
"""  # noqa: S608  # names of columns from this file
