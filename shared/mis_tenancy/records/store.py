"""Puts request records into Postgres so that each counts once, however often it is sent.

A statement adds to the usage ledger only what it has really inserted into the audit log, in the same
transaction. So a batch whose commit is unknown can simply be sent again, and ledger and log always agree.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final
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
    select record.* from alone, json_to_recordset($2::json) as record (
        id uuid, kind text, actor uuid, actor_kind text, action text, resource text, outcome text, status int,
        duration_us bigint, request_id text, sources jsonb, origin text, hour bigint, counted bool,
        rejected bool, route text, bucket int, feature text, moment bigint
    )
), inserted as (
    insert into audit_logs (
        tenant_id, id, kind, actor, actor_kind, action, resource, outcome, status, duration_us,
        request_id, sources, origin
    )
    select $1, id, kind, actor, actor_kind, action, resource, coalesce(outcome, 'unknown'), status,
           duration_us, request_id, sources, decode(origin, 'base64')
      from incoming
    on conflict (tenant_id, id) do nothing
    returning id
){USAGE}"""  # noqa: S608  # both parts are constants
_INSERT_ON: Final = shared_or_not(_INSERT)
_BY_TENANT_AND_ID: Final = attrgetter("tenant_id.int", "id.int")
_TENANT: Final = attrgetter("tenant_id.int")

# Encoding so many rows keeps the event loop busy for a millisecond or two.
_ROWS_AT_ONCE: Final = 200
# SQLSTATE classes of an error that lies in the rows: data exception, integrity constraint violation.
_REFUSING: Final = ("22", "23")
_FOREIGN_KEY: Final = "23503"


async def insert_records(database: SystemDatabase, records: Sequence[AuditRecord]) -> None:
    """Insert finished records of any tenants in one transaction; those already there change nothing."""
    origins = await sealed_origins(database, records)
    ordered = sorted({record.id.int: record for record in records}.values(), key=_BY_TENANT_AND_ID)
    async with database.system_transaction() as connection:
        for _, group in groupby(ordered, key=_TENANT):
            of_tenant = list(group)
            tenant_id = of_tenant[0].tenant_id
            await connection.bind(tenant_id)
            for start in range(0, len(of_tenant), _ROWS_AT_ONCE):
                rows = [_row(record, origins) for record in of_tenant[start : start + _ROWS_AT_ONCE]]
                # One document costs the driver a fraction of what a column each does.
                document = msgspec.json.encode(rows).decode()
                await connection.fetch(_INSERT_ON[database.on_nodes], tenant_id, document)


def refuses_rows(error: Exception) -> bool:
    """Return whether Postgres refused some row for itself, so that trying again is no use."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_REFUSING)


def refuses_tenant(error: Exception) -> bool:
    """Return whether the rows were refused because their tenant is gone."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == _FOREIGN_KEY


class _Row(msgspec.Struct):
    """A record as the statement reads it; bytes are written as base64."""

    id: UUID
    kind: str
    actor: UUID | None
    actor_kind: str | None
    action: str
    resource: str | None
    outcome: str | None
    status: int | None
    duration_us: int | None
    request_id: str | None
    sources: Sequence[str]
    origin: bytes | None
    hour: int
    counted: bool
    rejected: bool
    route: str
    bucket: int | None
    feature: str | None
    moment: int


def _row(record: AuditRecord, origins: Mapping[UUID, bytes]) -> _Row:
    # The 48 highest bits of the id are Unix milliseconds; the ledger's hour is that of the admission.
    moment, took = record.id.int >> 80, record.duration_us
    return _Row(
        record.id,
        record.kind,
        record.actor,
        record.actor_kind,
        record.action,
        record.resource,
        record.outcome,
        record.status,
        took,
        record.request_id,
        record.sources,
        origins.get(record.id),
        moment // 3_600_000,
        record.counted,
        record.rejected,
        route_of(record.action),
        None if took is None else bucket_of(took),
        record.feature,
        moment,
    )
