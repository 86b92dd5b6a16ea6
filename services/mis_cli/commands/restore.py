"""`mis restore`: a deployment, or one tenant, out of its backup."""

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mis_cli.backups.loading import Choice
from mis_cli.backups.progress import stepping
from mis_cli.backups.restoring import Restored, Target
from mis_cli.backups.restoring import restore as put_back
from mis_cli.backups.tenant_restoring import TenantRestored, restore_tenant
from mis_cli.commands.options import DataDir
from mis_cli.deployment import recorded_settings
from mis_cli.exits import AWAY, REFUSED
from mis_cli.output import AsJson, tell
from mis_cli.running.provisioning import standing
from mis_cli.settings import RestorationSettings
from mis_tenancy.logging import configure_logging
from mis_tenancy.settings import MasterKeys


def restore(
    backup: Annotated[Path, typer.Argument(help="A directory of `mis backup`.", show_default=False)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Let what is in the database and the store go.")
    ] = False,
    end_api_keys: Annotated[
        bool, typer.Option("--end-api-keys", help="End the keys of tenants' programs as well as sessions.")
    ] = False,
    mute: Annotated[
        bool,
        typer.Option("--mute", help="To look or to rehearse: webhooks are disabled, queued work is dropped."),
    ] = False,
    tenant: Annotated[
        str | None, typer.Option(help="The one that the backup is of, by its id or slug.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup back: judged first, then in one transaction; services and worker are stopped meanwhile.

    Reads MIS_MIGRATION_DATABASE_URL, MIS_DATABASE_URL, MIS_MASTER_KEYS, MIS_REDIS_URL and the MIS_STORAGE_…
    settings; without the first, it restores into the data directory of a `mis run` that is stopped. Exit
    code 1 says that it failed, or that nobody should be served afterwards: isolation does not stand, or a
    master key is not the one. On a server without the suite's roles, MIS_SUPERUSER_DATABASE_URL,
    MIS_AUTH_DATABASE_URL and MIS_PLATFORM_DATABASE_URL are read as well, and the roles are made.
    """
    # What a machine reads is on standard output.
    configure_logging("mis", level="ERROR", stream=sys.stderr)
    choice = Choice(replace, end_api_keys, mute)
    if tenant is not None:
        _restore_tenant(backup, tenant, choice, data_dir, as_json=as_json)
        return
    with ExitStack() as stack:
        settings = RestorationSettings.of(standing(data_dir, stack))
        steps = stack.enter_context(stepping(as_json=as_json))
        restored = asyncio.run(put_back(backup, _target(settings), choice, steps))
    tell(asdict(restored), _told(restored), as_json=as_json)
    _conclude(restored)


def _restore_tenant(
    backup: Path, tenant: str, choice: Choice, data_dir: Path | None, *, as_json: bool
) -> None:
    """Put one tenant back beside the others, while services run."""
    settings = RestorationSettings.of(recorded_settings(data_dir))
    with stepping(as_json=as_json) as steps:
        restored = asyncio.run(restore_tenant(backup, tenant, _target(settings), choice, steps))
    told = (
        f"Restored {restored.slug} ({restored.id}): {restored.status}, {restored.rows} rows, "
        f"{restored.objects} objects. Its members have to sign in again."
    )
    tell(asdict(restored), told + _reservations(restored), as_json=as_json)
    _conclude(restored)


def _target(settings: RestorationSettings) -> Target:
    return Target(
        owner_url=settings.migration_database_url,
        storage=settings.storage(),
        application_url=settings.database_url,
        auth_url=settings.auth_database_url,
        platform_url=settings.platform_database_url,
        superuser_url=settings.superuser_database_url,
        redis_url=settings.redis_url,
        master_keys=MasterKeys.parse(settings.master_keys),
    )


def _told(restored: Restored) -> str:
    manifest = restored.manifest
    told = (
        f"Restored what was backed up at {manifest.created_at}: {manifest.tenants} tenants, "
        f"{sum(manifest.rows.values())} rows, {manifest.objects.count} objects; now at revision "
        f"{restored.revision}. Everybody has to sign in again."
    )
    return told + ("" if restored.faults else " Keys and isolation were verified.") + _reservations(restored)


def _reservations(restored: Restored | TenantRestored) -> str:
    """Return what is not as it should be, a line for each kind."""
    told = ""
    if restored.left:
        told += f"\nStill to do, by the same command with --replace: {'; '.join(restored.left)}."
    if restored.faults:
        told += f"\nNOT FIT TO SERVE ANYBODY: {'; '.join(restored.faults)}"
    return told


def _conclude(restored: Restored | TenantRestored) -> None:
    if restored.faults:
        raise typer.Exit(REFUSED)
    if restored.left:
        raise typer.Exit(AWAY)
