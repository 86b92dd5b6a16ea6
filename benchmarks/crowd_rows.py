"""Puts a crowd of users into the database: one large tenant, the others of all sizes, names as people have them.

A name is as frequent as its place in the list of names says (Zipf), so the first ones are those of one in a
hundred and most are those of a handful. Everything follows from the row's number, so each crowd is the same.
Tenants' users come to be in turns, as in life, so no tenant's rows lie side by side.
"""

from typing import Final

from benchmarks.ground import Ground

LARGE: Final = "00000000-0000-7000-8000-000000000001"

# The large tenant has an eighth of all users, and the owner is made to wait for none of the others' locks.
_TENANTS: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'Tenant ' || n, 'tenant-' || n, 'tenant-' || n,
       'custom', 'active', now(), now(), now()
  from generate_series(1, {tenants} + 1) n;
insert into tenant_counters (tenant_id) select id from tenants
"""

# Functions of the number alone: a chance between 0 and 1, a place in a list of names, and the name there.
_FUNCTIONS: Final = """
create function chance(n bigint, kind bigint) returns float8 immutable language sql
return (hashint8extended(n, kind) & 2147483647)::float8 / 2147483648::float8;
create function place(chance float8, many float8, even float8) returns int immutable language sql
return floor(even * (((many + even) / even) ^ chance) - even)::int;
create function first_name(n int) returns text immutable language sql
return (array['ma','jo','an','ka','le','da','mi','ch','st','el','ro','th','sa','be','pa','lu','ni','al','ha','so'])[1 + n % 20]
    || (array['ria','hn','na','rl','nah','vid','ra','ris','ian','len','bert','mas','rah','nja','ula'])[1 + n / 20 % 15]
    || (array['','e','o','ina','ette','us','in','ka','ya','el'])[1 + n / 300 % 10];
create function last_name(n int) returns text immutable language sql
return (array['sch','m','w','b','k','h','f','r','l','g','st','d','n','p','j','br','kr','v','z','t'])[1 + n % 20]
    || (array['a','e','i','o','u','ei','au','ie','oe','y'])[1 + n / 20 % 10]
    || (array['ll','tt','nn','ck','rt','nd','m','ss','lt','bb'])[1 + n / 200 % 10]
    || (array['er','mann','el','ing','sen','ova','i','ski','ez','son'])[1 + n / 2000 % 10]
    || (array['','hof','berg','bach','dorf'])[1 + n / 20000 % 5]
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
                          from generate_series({start}::bigint, {end}::bigint) n offset 0) drawn
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
