"""`mis backup`: a deployment, or one tenant, into a directory."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from mis_cli.backups.making import Source, back_up
from mis_cli.backups.progress import stepping
from mis_cli.backups.tenant_making import back_up_tenant
from mis_cli.commands.options import DataDir
from mis_cli.deployment import recorded_settings
from mis_cli.output import AsJson, tell
from mis_cli.settings import BackupSettings
from mis_tenancy.logging import configure_logging


def backup(
    target: Annotated[Path, typer.Argument(help="The directory to make.", show_default=False)],
    tenant: Annotated[str | None, typer.Option(help="Only this one, by its id or slug.")] = None,
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
    if tenant is not None:
        _back_up_tenant(source, tenant, target, as_json=as_json)
        return
    with stepping(as_json=as_json) as steps:
        manifest = asyncio.run(back_up(source, target.absolute(), steps))
    rows = sum(manifest.rows.values())
    told = (
        f"{target}: {manifest.tenants} tenants, {rows} rows, {manifest.objects.count} objects. To read what "
        f"is encrypted in it, these master keys are needed: {', '.join(manifest.master_keys) or 'none'}."
    )
    if manifest.objects.gone:
        told += f"\n{len(manifest.objects.gone)} objects were deleted while the others were copied."
    tell(manifest, told, as_json=as_json)


def _back_up_tenant(source: Source, tenant: str, target: Path, *, as_json: bool) -> None:
    with stepping(as_json=as_json) as steps:
        manifest = asyncio.run(back_up_tenant(source, tenant, target.absolute(), steps))
    told = f"{target}: {manifest.tenant['slug']}, {sum(manifest.rows.values())} rows, "
    tell(manifest, f"{told}{manifest.objects.count} objects.", as_json=as_json)
