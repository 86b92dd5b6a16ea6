"""`mis backup`: a deployment, or one tenant, into a directory."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mis_cli.backups.making import Source, back_up
from mis_cli.backups.manifest import Manifest, TenantManifest
from mis_cli.backups.progress import stepping
from mis_cli.backups.retention import keep_newest, named_by_time
from mis_cli.backups.tenant_making import back_up_tenant
from mis_cli.commands.options import DataDir
from mis_cli.deployment import recorded_settings
from mis_cli.output import AsJson, tell
from mis_cli.settings import BackupSettings
from mis_tenancy.logging import configure_logging

Keep = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="TARGET is where backups gather: this one is named by its time, and only so many stay.",
        show_default=False,
    ),
]


def backup(
    target: Annotated[Path, typer.Argument(help="The directory to make.", show_default=False)],
    tenant: Annotated[str | None, typer.Option(help="Only this one, by its id or slug.")] = None,
    keep: Keep = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy database and objects into a new directory, and prove that every row is in it.

    Reads MIS_MIGRATION_DATABASE_URL and the MIS_STORAGE_… settings. Master keys are never in a backup: keep
    them elsewhere.
    """
    # What a machine reads is on standard output.
    configure_logging("mis", level="ERROR", stream=sys.stderr)
    settings = BackupSettings.of(recorded_settings(data_dir))
    source = Source(settings.migration_database_url, settings.storage())
    gathered = target.absolute()
    place = gathered if keep is None else named_by_time(gathered)
    manifest: Manifest | TenantManifest
    with stepping(as_json=as_json) as steps:
        if tenant is None:
            manifest = asyncio.run(back_up(source, place, steps))
        else:
            manifest = asyncio.run(back_up_tenant(source, tenant, place, steps))
    removed = [] if keep is None else keep_newest(gathered, manifest, keep)
    told = f"{place}: {_told(manifest)}"
    if manifest.objects.gone:
        told += f"\n{len(manifest.objects.gone)} objects were deleted while the others were copied."
    if removed:
        told += f"\nRemoved {', '.join(removed)}."
    tell(
        {**msgspec.to_builtins(manifest), "directory": str(place), "removed": removed}, told, as_json=as_json
    )


def _told(manifest: Manifest | TenantManifest) -> str:
    rows, stored = sum(manifest.rows.values()), manifest.objects.count
    if isinstance(manifest, TenantManifest):
        return f"{manifest.tenant['slug']}, {rows} rows, {stored} objects."
    return (
        f"{manifest.tenants} tenants, {rows} rows, {stored} objects. To read what is encrypted in it, these "
        f"master keys are needed: {', '.join(manifest.master_keys) or 'none'}."
    )
