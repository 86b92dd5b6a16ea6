"""One tenant out of its backup, beside the others, under the id it had.

Its rows change in one transaction: what is left of it goes, the backup's rows come and are counted. It must
be closed while that happens, as the services keep running.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from mis_cli.backups import objects
from mis_cli.backups.endings import abandoned, silenced
from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.backups.loading import Choice
from mis_cli.backups.making import Steps
from mis_cli.backups.manifest import TenantManifest, check_file, read_manifest
from mis_cli.backups.restoring import Target, faults, refuse_lacking
from mis_cli.backups.tenant_rows import (
    backed_up_tables,
    count,
    emptied_tables,
    insert,
    lines_of,
    remove,
    rows_file,
    types,
)
from mis_cli.backups.tidying import ask_redis, tidy
from mis_cli.backups.trail import sql_note
from mis_cli.migrations import revisions
from mis_tenancy.redis import tenant_key

_OPEN: Final = frozenset({"active", "maintenance", "provisioning"})

_HOLD: Final = "select status, epoch from public.tenants where id = $1 for update"
# What the backup says of a passing state is over; and no token from before may be good.
_SETTLE: Final = """
update public.tenants
   set status = case when status in ('suspended', 'active') then status
                     when status = 'pending_deletion' then coalesce(status_before, 'active')
                     else 'active' end,
       status_before = null, purge_at = null, purging_since = null,
       epoch = greatest(epoch, $2) + 1, version = version + 1, updated_at = now()
 where id = $1
returning epoch, status, slug
"""
_TELL: Final = """
insert into public.revocations (id, kind, tenant_id, subject, epoch)
values (gen_random_uuid(), 'tenant', $1, $1, $2)
"""
# As mis_cli.renumbering does for the whole log, where the rows come from another server.
_AHEAD: Final = """
select greatest((select max(xid) from public.audit_logs where tenant_id = $1),
                (select max(horizon) from public.audit_seals where tenant_id = $1))
"""
# By itself, because Citus would ask the tenant's node for its own number.
_OWN: Final = "select pg_current_xact_id()::text::bigint"
_SHIFTS: Final = (
    "update public.audit_logs set xid = xid - $2 where tenant_id = $1",
    "update public.audit_seals set horizon = horizon - $2 where tenant_id = $1",
)


@dataclass(frozen=True, slots=True)
class TenantRestored:
    """The tenant as it is now, what came back, what is left to tidy, and what keeps it from being served."""

    id: str
    slug: str
    status: str
    rows: int
    objects: int
    left: Sequence[str]
    faults: Sequence[str]


async def restore_tenant(
    directory: Path, named: str, target: Target, choice: Choice, steps: Steps
) -> TenantRestored:
    """Put the tenant back; raise BackupRefused before anything changed, BackupFailed where it failed."""
    manifest = read_manifest(directory, TenantManifest)
    tenant_id = UUID(manifest.tenant["id"])
    if named.lower() not in (manifest.tenant["id"], manifest.tenant["slug"]):
        raise BackupRefused(f"{directory} is a backup of {manifest.tenant['slug']}, not of {named}.")
    await _judge(directory, manifest, target, steps)
    if target.redis_url is not None:
        await ask_redis(target.redis_url)
    connection = await asyncpg.connect(target.owner_url, timeout=10)
    try:
        _refuse(await connection.fetchrow(_HOLD, tenant_id), manifest, replace=choice.replace)
        await objects.copy_in(target.storage, directory, steps("objects back", manifest.objects.bytes))
        async with connection.transaction():
            held = await connection.fetchrow(_HOLD, tenant_id)
            _refuse(held, manifest, replace=choice.replace)
            await _exchange(connection, tenant_id, manifest, directory)
            now = await _settle(connection, tenant_id, held["epoch"] if held else 0, manifest)
            for statement in silenced(tenant_id) if choice.mute else []:
                await connection.execute(statement)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise BackupFailed(f"Nothing has changed: {error.detail or error}") from error
    finally:
        await connection.close()
    pattern = f"{tenant_key(tenant_id)}:*"
    tidied = await tidy(target.redis_url, pattern, target.storage, directory, [tenant_id])
    return TenantRestored(
        str(tenant_id),
        now["slug"],
        now["status"],
        sum(manifest.rows.values()),
        manifest.objects.count,
        tidied.left,
        await faults(target),
    )


async def _judge(directory: Path, manifest: TenantManifest, target: Target, steps: Steps) -> None:
    """Raise BackupRefused where the backup is damaged or not for this program."""
    refuse_lacking(manifest.master_keys, target)
    if manifest.files.keys() - set(backed_up_tables()) or manifest.revision not in revisions():
        raise BackupRefused("The backup is of a schema that this program does not know.")
    hear = steps("checking", sum(file.bytes for file in manifest.files.values()) + manifest.objects.bytes)
    for table, file in manifest.files.items():
        await asyncio.to_thread(check_file, directory, rows_file(table), file, hear)
    check = objects.check_objects
    await asyncio.to_thread(check, target.storage, directory, manifest.objects, hear)
    if any(str(one.tenant) != manifest.tenant["id"] for one in objects.listed(directory)):
        raise BackupRefused(f"{directory} holds objects of another tenant than its own.")


def _refuse(held: Any, manifest: TenantManifest, *, replace: bool) -> None:
    slug = manifest.tenant["slug"]
    if held is None or held["status"] == "purged":
        return
    if not replace:
        raise BackupRefused(f"{slug} is there. Let what it is now go by --replace.")
    if held["status"] in _OPEN:
        raise BackupRefused(
            f"{slug} is open, and what its members do meanwhile would be mixed with the backup. Close it "
            f"first: mis tenants suspend {slug} --reason …"
        )


async def _exchange(connection: Any, tenant_id: UUID, manifest: TenantManifest, directory: Path) -> None:
    for table in emptied_tables():
        await remove(connection, table, tenant_id)
    tables = [table for table in backed_up_tables() if table in manifest.files]
    now = await types(connection, tables)
    for table in tables:
        kept = {column: now[table][column] for column in manifest.columns[table] if column in now[table]}
        await insert(connection, table, kept, lines_of(directory / rows_file(table)), tenant_id)
    for table, expected in manifest.rows.items():
        if (found := await count(connection, table, tenant_id)) != expected:
            raise BackupFailed(f"Nothing has changed: {table} took {found} of {expected} rows.")


async def _settle(connection: Any, tenant_id: UUID, epoch: int, manifest: TenantManifest) -> Any:
    now = await connection.fetchrow(_SETTLE, tenant_id, epoch)
    await connection.execute(_TELL, tenant_id, now["epoch"])
    for statement in abandoned(tenant_id):
        await connection.execute(statement)
    highest = await connection.fetchval(_AHEAD, tenant_id)
    if highest is not None and highest > await connection.fetchval(_OWN):
        for shift in _SHIFTS:
            await connection.execute(shift, tenant_id, highest + 1)
    told = {"createdAt": manifest.created_at, "slug": now["slug"]}
    await connection.execute(sql_note("backup.restored", told, tenant_id))
    return now
