"""A gap of months without partitions closes again, although the default partition has taken its rows.

While no worker makes partitions ahead of time, audit rows land in the default partition, and then Postgres
refuses a partition for their month. Moving them could be hundreds of millions of rows; so the default
partition itself becomes the partition of the gap, and an empty one takes its place.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Rows of the default partition that lie outside of the gap, such as an old spool's, stay in the default.
ENSURE = """
create or replace function ensure_audit_partitions(months integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    present timestamp := date_trunc('month', now() at time zone 'UTC');
    first timestamp;
    made integer := 0;
    part text;
    fresh text;
    columns text;
    bounds uuid[];
    lows uuid[];
    highs uuid[];
begin
    for step in -1..months loop
        first := present + make_interval(months => step);
        part := 'audit_logs_' || to_char(first, 'YYYYMM');
        -- The lowest UUIDv7 of a moment: 48 bits of milliseconds, then the version and the variant.
        select array_agg((lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0')
                          || '70008000000000000000')::uuid order by number)
          into bounds
          from unnest(array[first, first + interval '1 month', present + interval '1 month'])
               with ordinality as edge (moment, number);
        select array_agg(bound[1]::uuid), array_agg(bound[2]::uuid) into lows, highs
          from pg_inherits join pg_class on pg_class.oid = inhrelid
         cross join lateral regexp_match(pg_get_expr(relpartbound, inhrelid),
                                         'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)') as bound
         where inhparent = 'public.audit_logs'::regclass and bound is not null;
        continue when exists (select from unnest(lows, highs) as known (low, high)
                               where low <= bounds[1] and high >= bounds[2]);
        if exists (select from public.audit_logs_default where id >= bounds[1] and id < bounds[2]) then
            part := part || '_gap';
            fresh := 'audit_logs_default';
            -- From the last partition before to the next one, or to the end of the present month.
            bounds := array[
                coalesce((select high from unnest(highs) as high where high <= bounds[1]
                           order by high desc limit 1), bounds[1]),
                coalesce((select low from unnest(lows) as low where low >= bounds[2] order by low limit 1),
                         greatest(bounds[2], bounds[3]))];
            select string_agg(quote_ident(attname), ', ') into columns from pg_attribute
             where attrelid = 'public.audit_logs'::regclass and attnum > 0 and not attisdropped;
            alter table public.audit_logs detach partition public.audit_logs_default;
            execute format('alter table public.audit_logs_default rename to %I', part);
            create table public.audit_logs_default partition of public.audit_logs default;
            execute format(
                'with moved as (delete from public.%I where id < $1 or id >= $2 returning *)
                 insert into public.audit_logs_default (%s) select %s from moved', part, columns, columns)
              using bounds[1], bounds[2];
            execute format(
                'alter table public.audit_logs attach partition public.%I for values from (%L) to (%L)',
                part, bounds[1], bounds[2]);
        else
            fresh := part;
            execute format(
                'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
                part, bounds[1], bounds[2]);
        end if;
        execute format('alter table public.%I enable row level security', fresh);
        execute format('alter table public.%I force row level security', fresh);
        execute format(
            'create policy owner on public.%I to mis_owner using (true) with check (true)', fresh);
        made := made + 1;
    end loop;
    return made;
end
$$
"""
BEFORE = """
create or replace function ensure_audit_partitions(months integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    first timestamp;
    made integer := 0;
    part text;
    bounds uuid[];
begin
    for step in -1..months loop
        first := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => step));
        part := 'audit_logs_' || to_char(first, 'YYYYMM');
        continue when to_regclass('public.' || part) is not null;
        -- The lowest UUIDv7 of a moment: 48 bits of milliseconds, then the version and the variant.
        select array_agg((lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0')
                          || '70008000000000000000')::uuid order by moment)
          into bounds from unnest(array[first, first + interval '1 month']) as moment;
        execute format(
            'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
            part, bounds[1], bounds[2]);
        execute format('alter table public.%I enable row level security', part);
        execute format('alter table public.%I force row level security', part);
        execute format(
            'create policy owner on public.%I to mis_owner using (true) with check (true)', part);
        made := made + 1;
    end loop;
    return made;
end
$$
"""


def upgrade() -> None:
    op.execute(ENSURE)


def downgrade() -> None:
    # It knows partitions by their names and stops at a gap that was closed: forward again is the way then.
    op.execute(BEFORE)
