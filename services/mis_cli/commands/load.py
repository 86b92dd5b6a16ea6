"""`mis load`: many tenants at work at once, on a suite that runs or on one of its own."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer

from mis_cli.commands.options import DataDir
from mis_cli.exits import AWAY, REFUSED, STOPPED
from mis_cli.load.display import Display, show
from mis_cli.load.order import LoadError, Order
from mis_cli.load.page import page_of
from mis_cli.load.report import document_of
from mis_cli.load.running import Stopped, run
from mis_cli.load.suites import elsewhere, running_or_own
from mis_cli.output import AsJson
from mis_cli.settings import SeedSettings
from mis_tenancy.logging import configure_logging
from mis_tenancy.plans import PlanName


def load(
    tenants: Annotated[int, typer.Option(min=1, max=1_000, help="How many tenants.")] = 10,
    users_per_tenant: Annotated[int, typer.Option(min=1, help="Users of each, its owner included.")] = 100,
    plan: Annotated[PlanName, typer.Option(help="The plan they are on.")] = PlanName.CUSTOM,
    duration: Annotated[float, typer.Option(min=1, help="Seconds that the traffic goes on.")] = 30,
    workers: Annotated[int, typer.Option(min=1, help="In each tenant, who ask one thing after another.")] = 2,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Requests a second of each tenant; else all they can.")
    ] = None,
    sign_ins: Annotated[int, typer.Option(min=1, help="Users of each tenant who sign in.")] = 3,
    base_url: Annotated[
        str | None, typer.Option(help="A suite elsewhere; then MIS_OPERATOR_EMAIL and …_PASSWORD sign in.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A file for the report as a page with charts.")] = None,
    report: Annotated[Path | None, typer.Option(help="A file for the report as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the tenants where they are.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep many tenants busy, and tell whether each was served alike and saw only its own.

    Without --base-url it is for the suite that runs on --data-dir, or where none does for one of its own.
    """
    configure_logging("mis", level="ERROR", stream=sys.stderr)
    order = Order(tenants, users_per_tenant, plan, duration, workers, rate, sign_ins)
    settings = SeedSettings.read(**({} if data_dir is None else {"data_dir": data_dir}))
    try:
        document = asyncio.run(_tested(settings, base_url, order, keep=keep))
    except LoadError as error:
        typer.echo(f"mis: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    except httpx.TransportError as error:
        typer.echo(f"mis: the suite does not answer ({type(error).__name__}). Try again.", err=True)
        raise typer.Exit(AWAY) from error
    except Stopped as error:
        raise typer.Exit(STOPPED) from error
    written = msgspec.json.encode(document)
    if report is not None:
        report.write_bytes(msgspec.json.format(written))
    if html is not None:
        html.write_text(page_of(document), encoding="utf-8")
    if as_json:
        typer.echo(written.decode())
    else:
        show(document)
    if not document["passed"]:
        raise typer.Exit(REFUSED)


async def _tested(
    settings: SeedSettings, base_url: str | None, order: Order, *, keep: bool
) -> dict[str, Any]:
    stop = asyncio.Event()
    # Beside the main thread nobody can be interrupted.
    with suppress(RuntimeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        suite = (
            await stack.enter_async_context(running_or_own(settings.data_dir))
            if base_url is None
            else elsewhere(settings, base_url)
        )
        with Display(order) as display:
            result = await run(suite, order, display.watching, stop, keep=keep)
    return document_of(result, order, suite.base_url)
