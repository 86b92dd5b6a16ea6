"""A backup of one tenant: all its rows of one moment, then its objects, under the same rules as the whole."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from mis_cli.backups import dumping, objects
from mis_cli.backups.errors import BackupFailed, BackupRefused
from mis_cli.backups.making import Source, Steps
from mis_cli.backups.manifest import FORMAT, File, TenantManifest, file_of, finish, growing
from mis_cli.backups.tenant_rows import Types, backed_up_tables, count, rows_file, rows_of, types
from mis_cli.backups.trail import note

_FIND: Final = "select id, name, slug, plan, status from public.tenants where id::text = $1 or slug = $1"


async def back_up_tenant(source: Source, named: str, target: Path, steps: Steps) -> TenantManifest:
    """Make the backup `target` of the tenant of that id or slug; raise BackupRefused or BackupFailed."""
    with growing(target) as draft:
        hear = steps("rows", None)
        async with dumping.snapshot(source.owner_url, of_all=False) as moment:
            tenant = await _found(moment.connection, named)
            columns = await types(moment.connection, backed_up_tables())
            rows, files = await _write_rows(moment.connection, tenant["id"], columns, draft)
            keys = await dumping.master_key_ids(moment.connection, tenant["id"])
            revision = moment.revision
        hear(sum(file.bytes for file in files.values()))
        copied = await objects.copy_out(source.storage, [tenant["id"]], draft, steps("objects", None))
        manifest = TenantManifest(
            format=FORMAT,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            revision=revision,
            master_keys=keys,
            tenant=tenant | {"id": str(tenant["id"])},
            columns={table: list(names) for table, names in columns.items()},
            rows=rows,
            files=files,
            objects=copied,
        )
        await asyncio.to_thread(finish, draft, manifest)
    await note(source.owner_url, "backup.made", {"rows": sum(rows.values())}, tenant["id"])
    return manifest


async def _found(connection: Any, named: str) -> dict[str, Any]:
    row = await connection.fetchrow(_FIND, named.lower())
    if row is None or row["status"] == "purged":
        raise BackupRefused(f"There is no tenant {named!r}: name one by its id or slug.")
    return dict(row)


async def _write_rows(
    connection: Any, tenant_id: UUID, columns: Types, draft: Path
) -> tuple[dict[str, int], dict[str, File]]:
    rows: dict[str, int] = {}
    files: dict[str, File] = {}
    for table in backed_up_tables():
        path, written = draft / rows_file(table), 0
        with objects.private(path) as lines:
            async for line in rows_of(connection, table, list(columns[table]), tenant_id):
                lines.write(line.encode() + b"\n")
                written += 1
            lines.flush()
            os.fsync(lines.fileno())
        if written != await count(connection, table, tenant_id):
            raise BackupFailed(f"{table} gave {written} rows, and counted differently. Nothing was kept.")
        rows[table], files[table] = written, await asyncio.to_thread(file_of, path)
    return rows, files
