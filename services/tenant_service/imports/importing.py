"""Applies a verified archive to a tenant, in the transaction of its caller: all of it, or with it none.

A rehearsal is the same work, taken back at the end, so it promises nothing that the import does not keep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from mis_accounts.attributes import KEY as SCHEMA
from mis_http.schemas import moment_text
from mis_tenancy.configuration import effective
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from tenant_service.configuration.repository import override, overrides
from tenant_service.exports.data_types.configurations import CONFIGURATIONS
from tenant_service.exports.data_types.media import MEDIA
from tenant_service.exports.data_types.shape import DataType, DataTypeName
from tenant_service.exports.data_types.users import USERS
from tenant_service.imports import configurations, media, repository, users
from tenant_service.imports.archive import Archive
from tenant_service.imports.importers import Importer
from tenant_service.imports.report import FACTS, Report, Source, Tally
from tenant_service.imports.rows import Row, media_of, person_of, setting_of

_One = TypeVar("_One")

# What is brought back. Everything else tells what happened, and importing it would make it up.
_LARGEST: Final = "file_upload.max_size"
_TYPES: Final = "file_upload.allowed_types"
_BROUGHT_BACK: Final = (DataTypeName.USERS, DataTypeName.CONFIGURATIONS, DataTypeName.MEDIA)


async def apply(
    session: TenantSession,
    archive: Archive,
    by: Importer,
    now: datetime,
    *,
    staged: media.Staged | None = None,
) -> Report:
    """Write what the archive brings back into the session's tenant, and return what that was.

    Where users have no seats none is written; the report's `seats` say so, and whoever commits has to look.
    `staged` are new files whose objects are in the store; without them, files are only counted.
    """
    report = _begun(archive, tenant_of(session))
    keeps_ids = report.source.same_tenant
    files = await judged_media(session, archive, by, now)
    owners = {file.archived.owner_id for file in files.new if file.archived.owner_id is not None}
    known = await _members_among(session, owners) if keeps_ids else {}
    people: users.UserImport | None = None
    if DataTypeName.USERS in archive.manifest.counts:
        people = users.UserImport(
            session,
            by.role,
            keeps_ids=keeps_ids,
            now=now,
            configuration={SCHEMA: await _attributes_schema(session)},
            sought=owners,
        )
        await _each_batch(archive, USERS, users.ROWS_AT_ONCE, person_of, people.take)
        report.data_types[DataTypeName.USERS] = people.tally
    if DataTypeName.CONFIGURATIONS in archive.manifest.counts:
        settings = configurations.ConfigurationImport(session, by, now)
        size = configurations.ROWS_AT_ONCE
        await _each_batch(archive, CONFIGURATIONS, size, setting_of, settings.take)
        settings.settle()
        report.data_types[DataTypeName.CONFIGURATIONS] = settings.tally
    if people is not None:
        # Behind the configuration, which locks the tenant: a change of plan takes the two in this order too.
        report.seats = await people.settle()
        # Without seats nobody is created whom a file could belong to.
        known |= people.found if report.seats.fits else {}
    await session.flush()
    if DataTypeName.MEDIA in archive.manifest.counts:
        report.data_types[DataTypeName.MEDIA] = files.tally
        report.storage = await (files.rehearse() if staged is None else files.settle(staged, known))
    return report


async def _attributes_schema(session: TenantSession) -> Any:
    """Return the schema for attributes that is in force now, whatever the archive brings."""
    row = await override(session, SCHEMA)
    return {} if row is None else row.config_value


async def judged_media(
    session: TenantSession, archive: Archive, by: Importer, now: datetime
) -> media.MediaImport:
    """Return the files of the archive, judged, before anything is done with them."""
    keeps_ids = archive.manifest.tenant.id == tenant_of(session)
    files = media.MediaImport(session, by, await _taken(session), keeps_ids=keeps_ids, now=now)
    if DataTypeName.MEDIA in archive.manifest.counts:
        await _each_batch(archive, MEDIA, media.ROWS_AT_ONCE, media_of, files.take)
    return files


async def _taken(session: TenantSession) -> media.Taken:
    """Return what files the tenant takes now."""
    tenant = await session.get_one(TenantRow, tenant_of(session))
    own = await overrides(session, (_LARGEST, _TYPES))
    in_force = effective(PlanName(tenant.plan), {key: row.config_value for key, row in own.items()})
    return media.Taken(in_force[_LARGEST], in_force[_TYPES])


async def _members_among(session: TenantSession, ids: Collection[UUID]) -> dict[UUID, UUID]:
    return {row.id: row.id for row in await repository.members(session, list(ids), [])}


def _begun(archive: Archive, tenant_id: UUID) -> Report:
    manifest = archive.manifest
    source = Source(
        export_id=manifest.export_id,
        tenant_id=manifest.tenant.id,
        created_at=moment_text(manifest.created_at),
        format=manifest.format,
        same_tenant=manifest.tenant.id == tenant_id,
    )
    history: dict[DataTypeName, Tally] = {
        name: Tally(total=count, skip=count, left_out=[FACTS])
        for name, count in manifest.counts.items()
        if name not in _BROUGHT_BACK
    }
    return Report(source, history)


async def _each_batch(
    archive: Archive,
    data_type: DataType,
    size: int,
    read: Callable[[Row], _One],
    take: Callable[[Sequence[_One]], Awaitable[None]],
) -> None:
    rows = archive.rows(data_type.extracts[0])

    def some() -> list[_One]:
        return [read(row) for row in islice(rows, size)]

    # Unpacking and reading are work for a thread: the loop has leases to keep and requests to serve.
    while batch := await asyncio.to_thread(some):
        await take(batch)
