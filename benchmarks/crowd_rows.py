"""Puts a crowd of users into the database: one large tenant, others of all sizes, names as people have them.

A name is as frequent as its place in the list of names says (Zipf), so the first ones are those of one in a
hundred and most are those of a handful. Everything follows from the row's number, so each crowd is the same.
Tenants' users come to be in turns, as in life, so no tenant's rows lie side by side. Whatever guards or finds
rows is taken away meanwhile and made anew afterwards, which for ten million takes minutes instead of hours.
"""

from typing import Final
from uuid import UUID

from benchmarks.ground import Ground

# It has an eighth of all users.
LARGE: Final = UUID("00000000-0000-7000-8000-000000000001")
_TENANTS_BESIDE: Final = 5_000
_AT_ONCE: Final = 1_000_000

_TENANTS: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'Tenant ' || n, 'tenant-' || n,
       'tenant-' || n, 'custom', 'active', now(), now(), now()
  from generate_series(1, {tenants} + 1) n;
insert into tenant_counters (tenant_id) select id from tenants
"""

# Functions of the number alone: a chance from 0 to 1, a place in a list of names, and the name there.
_FUNCTIONS: Final = """
create function chance(n bigint, kind bigint) returns float8 immutable language sql
return (hashint8extended(n, kind) & 2147483647)::float8 / 2147483648::float8;
create function place(chance float8, many float8, even float8) returns int immutable language sql
return floor(even * (((many + even) / even) ^ chance) - even)::int;
create function syllable(n int, given text) returns text immutable language sql
return split_part(given, ' ', 1 + n);
create function first_name(n int) returns text immutable language sql
return syllable(n % 20, 'ma jo an ka le da mi ch st el ro th sa be pa lu ni al ha so')
    || syllable(n / 20 % 15, 'ria hn na rl nah vid ra ris ian len bert mas rah nja ula')
    || syllable(n / 300 % 10, ' e o ina ette us in ka ya el');
create function last_name(n int) returns text immutable language sql
return syllable(n % 20, 'sch m w b k h f r l g st d n p j br kr v z t')
    || syllable(n / 20 % 10, 'a e i o u ei au ie oe y')
    || syllable(n / 200 % 10, 'll tt nn ck rt nd m ss lt bb')
    || syllable(n / 2000 % 10, 'er mann el ing sen ova i ski ez son')
    || syllable(n / 20000 % 5, ' hof berg bach dorf')
"""

# An offset of nothing keeps each step from being written out again wherever its values are used.
_PEOPLE: Final = """
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(tenant), 12, '0'))::uuid,
       (lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '7' || substr(digest, 1, 3)
        || '8' || substr(digest, 4, 15))::uuid,
       email, email, name, role, status, '{{"team": "north"}}', now(), now()
  from (select *, case when initials < 0.2 then left(first, 1) else first end
                  || '.' || last || n || '@tenant' || tenant || '.example' as email,
               case when names < 0.08 then initcap(first) || '-' || initcap(second)
                    when names < 0.18 then initcap(first) || ' ' || initcap(second)
                    else initcap(first) end || ' ' || initcap(last) as name,
               case when roles < 0.9 then 'member' when roles < 0.98 then 'viewer' else 'admin' end as role,
               case when states < 0.94 then 'active' when states < 0.98 then 'invited'
                    else 'disabled' end as status
          from (select n, md5(n::text) as digest, names, initials, roles, states,
                       case when tenants < 0.125 then 1
                            else 2 + place((tenants - 0.125) / 0.875, {tenants}, 20) end as tenant,
                       first_name(first) as first, first_name(second) as second, last_name(last) as last
                  from (select n, chance(n, 1) as tenants, chance(n, 4) as initials, chance(n, 5) as names,
                               chance(n, 6) as roles, chance(n, 7) as states,
                               place(chance(n, 2), 3000, 20) as first,
                               place(chance(n, 8), 3000, 20) as second,
                               place(chance(n, 3), 100000, 15) as last
                          from generate_series({first}::bigint, {last}::bigint) n offset 0) drawn
                offset 0) named
        offset 0) people
"""

_TERMS: Final = """
insert into user_terms (tenant_id, term, user_id)
select tenant_id, term, id
  from users, lateral (select email_norm union
                       select regexp_split_to_table(lower(name), ' ') union
                       select regexp_split_to_table(lower(name), '[ -]')) words (term)
"""

_INDEXES: Final = """
select {shown} from pg_indexes
 where tablename in ('users', 'user_terms') and indexname like 'ix%' order by indexname
"""
_KEY: Final = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'pk_user_terms'"
# Each tenant of the crowd is there, so no row has to look for it.
_UNWATCHED: Final = "set session_replication_role = replica; "
_ROOMY: Final = "set maintenance_work_mem = '1GB'; "


def fill(given: Ground, users: int) -> None:
    """Add so many users, with the terms that they are found by."""
    given.ask(_TENANTS, tenants=_TENANTS_BESIDE)
    given.ask(_FUNCTIONS)
    (key,) = given.lines(_KEY)
    made_anew = given.lines(_INDEXES.format(shown="indexdef"))
    for index in given.lines(_INDEXES.format(shown="indexname")):
        given.ask(f"drop index {index}")
    given.ask("alter table user_terms drop constraint pk_user_terms")
    for first in range(1, users + 1, _AT_ONCE):
        last = min(users, first + _AT_ONCE - 1)
        given.ask(_UNWATCHED + _PEOPLE, tenants=_TENANTS_BESIDE, first=first, last=last)
    given.ask(_UNWATCHED + _TERMS)
    for statement in (f"alter table user_terms add constraint pk_user_terms {key}", *made_anew):
        given.ask(_ROOMY + statement)
    given.ask("vacuum analyze users;\nvacuum analyze user_terms")
