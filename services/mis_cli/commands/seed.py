"""`mis seed`: the demo, for a suite that runs already."""

import asyncio
from pathlib import Path
from typing import Annotated

import httpx
import typer

from mis_cli.commands.options import DataDir
from mis_cli.demo import SeedError, Target, fill
from mis_cli.exits import AWAY, REFUSED
from mis_cli.output import AsJson, tell
from mis_cli.running.run_record import DemoTenant, note_demo, read_record
from mis_cli.settings import SeedSettings
from mis_tenancy.settings import SettingsError


def seed(
    base_url: Annotated[
        str | None, typer.Option(help="A suite elsewhere; then MIS_OPERATOR_EMAIL and …_PASSWORD sign in.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the demo tenants and their users, as far as they are missing, through the API."""
    settings = SeedSettings.read(**({} if data_dir is None else {"data_dir": data_dir}))
    target = _running(settings.data_dir) if base_url is None else _elsewhere(settings, base_url)
    try:
        demo = asyncio.run(fill(target))
    except SeedError as error:
        typer.echo(f"mis: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    except httpx.TransportError as error:
        typer.echo(f"mis: {target.base_url} does not answer: {error!r}.", err=True)
        raise typer.Exit(AWAY) from error
    if base_url is None:
        note_demo(settings.data_dir, demo)
    for tenant in demo:
        _tell(tenant, as_json=as_json)


def _running(data_dir: Path) -> Target:
    record = read_record(data_dir)
    if record is None:
        raise SettingsError(
            f"No suite runs in {data_dir}. Start one with `mis run`, name its data directory by --data-dir, "
            "or a suite elsewhere by --base-url."
        )
    operator = record["operator"]
    return Target(record["baseUrl"], operator["email"], operator["password"], data_dir)


def _elsewhere(settings: SeedSettings, base_url: str) -> Target:
    operator = settings.operator()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Target(base_url, *operator, settings.data_dir)


def _tell(tenant: DemoTenant, *, as_json: bool) -> None:
    document = {name: getattr(tenant, name) for name in ("slug", "id", "plan", "email", "password")}
    tell(document, f"{tenant.slug:<18}{tenant.email}  {tenant.password}  ({tenant.plan})", as_json=as_json)
