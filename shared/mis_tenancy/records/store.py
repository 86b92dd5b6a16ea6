"""Puts request records into Postgres so that each counts once, however often it is sent.

A statement adds to the usage ledger only what it has really inserted into the audit log, in the same
transaction. So a batch whose commit is unknown can simply be sent again, and ledger and log always agree.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from mis_tenancy.latency import bucket_of
from mis_tenancy.records.origins import sealed_origins
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.records.usage import USAGE, route_of
from mis_tenancy.system_database import SystemDatabase, shared_or_not

# A tenant's row is shared until the transaction ends, so that its purge waits for these rows, and what comes
# after the purge, from a spool that was left behind, finds a tombstone and goes nowhere.
# The lock lets one process at a time add to a tenant's ledger, whose rows all of them would touch anyway;
# tenants come in the same order in every process, so that two of them never wait for each other in a
# circle.
_INSERT: Final = f"""
with standing as materialized (
    select status from tenants where id = $1 for key share
), alone as materialized (
    select pg_advisory_xact_lock(hashtextextended($1::uuid::text, 8217))::text as held
     where not exists (select from standing where status = 'purged')
), incoming as materialized (
    select record.* from alone, unnest(
        $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[],
        $10::bigint[], $11::text[], $12::text[], $13::bytea[], $14::bigint[], $15::bool[],
        $16::bool[], $17::text[], $18::int[], $19::text[], $20::bigint[]
    ) as record (
        id, kind, actor, actor_kind, action, resource, outcome, status, duration_us,
        request_id, sources, origin, hour, counted, rejected, route, bucket, feature,
        moment
    )
), inserted as (
    insert into audit_logs (
        tenant_id, id, kind, actor, actor_kind, action, resource, outcome, status, duration_us,
        request_id, sources, origin
    )
    select $1, id, kind, actor, actor_kind, action, resource, coalesce(outcome, 'unknown'), status,
           duration_us, request_id, sources::jsonb, origin
      from incoming
    on conflict (tenant_id, id) do nothing
    returning id
){USAGE}"""  # noqa: S608  # both parts are constants
_INSERT_ON: Final = shared_or_not(_INSERT)
_BEFORE_SOURCES = attrgetter(
    *("id", "kind", "actor", "actor_kind", "action", "resource", "outcome", "status", "duration_us"),
    "request_id",
)
_BY_TENANT_AND_ID = attrgetter("tenant_id", "id")
_TENANT = attrgetter("tenant_id")

# Encoding so many rows keeps the event loop busy for a millisecond or two.
_ROWS_AT_ONCE: Final = 200
# SQLSTATE classes of an error that lies in the rows: data exception, integrity constraint violation.
_REFUSING: Final = ("22", "23")
_FOREIGN_KEY: Final = "23503"


async def insert_records(database: SystemDatabase, records: Sequence[AuditRecord]) -> None:
    """Insert finished records of any tenants in one transaction; those already there change nothing."""
    origins = await sealed_origins(database, records)
    ordered = sorted({record.id: record for record in records}.values(), key=_BY_TENANT_AND_ID)
    async with database.system_transaction() as connection:
        for tenant_id, group in groupby(ordered, key=_TENANT):
            await connection.bind(tenant_id)
            while rows := list(islice(group, _ROWS_AT_ONCE)):
                await connection.fetch(_INSERT_ON[database.on_nodes], tenant_id, *_columns(rows, origins))


def refuses_rows(error: Exception) -> bool:
    """Return whether Postgres, or the driver, refused some row for itself, so that trying again is no use."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_REFUSING)
    # The driver's own word for a value that no column of the type can hold.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def refuses_tenant(error: Exception) -> bool:
    """Return whether the rows were refused because their tenant is gone."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == _FOREIGN_KEY


def _columns(records: list[AuditRecord], origins: Mapping[UUID, bytes]) -> list[Sequence[Any]]:
    columns: list[Sequence[Any]] = list(zip(*map(_BEFORE_SOURCES, records), strict=True))
    columns.append([msgspec.json.encode(record.sources).decode() for record in records])
    columns.append([origins.get(record.id) for record in records])
    # The 48 highest bits of the id are Unix milliseconds; the ledger's hour is that of the admission.
    columns.append([(record.id.int >> 80) // 3_600_000 for record in records])
    columns.append([record.counted for record in records])
    columns.append([record.rejected for record in records])
    columns.append([route_of(record.action) for record in records])
    columns.append([None if (took := record.duration_us) is None else bucket_of(took) for record in records])
    columns.append([record.feature for record in records])
    columns.append([record.id.int >> 80 for record in records])
    return columns
