"""`mis distribute`: one database becomes a Citus cluster's, proven to isolate tenants on every node."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mis_cli.distribution.cluster import (
    read_facts,
    require_cluster,
    require_newest,
    require_quiet,
    require_roles,
)
from mis_cli.distribution.plan import Step, plan
from mis_cli.distribution.running import Busy, Done, RowsLost, carry_out, opened
from mis_cli.distribution.verification import Check, checks
from mis_cli.exits import AWAY, REFUSED
from mis_cli.output import AsJson, tell
from mis_cli.settings import DistributionSettings


def distribute(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is left to do; do nothing.")] = False,
    shards: Annotated[
        int, typer.Option(min=1, max=1024, help="Into how many parts tenants are spread, once and for all.")
    ] = 32,
    as_json: AsJson = False,
) -> None:
    """Spread the database at MIS_MIGRATION_DATABASE_URL over its Citus cluster, by tenant.

    Services and workers must be stopped. Run it again after a stop, and it goes on. Exit code 1 says that the
    result does not isolate tenants as it must: keep the services stopped.
    """
    settings = DistributionSettings.read()
    answering(lambda: asyncio.run(_distribute(settings, shards, dry_run=dry_run, as_json=as_json)))


def answering(work: Callable[[], list[Check]]) -> None:
    """Do work that changes a cluster, and exit by what came of it; it returns the checks that failed."""
    try:
        failed = work()
    except Busy as error:
        typer.echo(f"mis: {error}", err=True)
        raise typer.Exit(AWAY) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InvalidAuthorizationSpecificationError):
        raise
    except (RowsLost, asyncpg.PostgresError) as error:
        # What Citus refuses it explains well.
        hint = getattr(error, "hint", None)
        typer.echo(f"mis: {error}{f' ({hint})' if hint else ''}", err=True)
        raise typer.Exit(REFUSED) from error
    if failed:
        raise typer.Exit(REFUSED)


async def _distribute(
    settings: DistributionSettings, shards: int, *, dry_run: bool, as_json: bool
) -> list[Check]:
    async with opened(settings.migration_database_url) as owner:
        nodes = await require_cluster(owner)
        await require_roles(owner)
        await require_newest(owner)
        steps = plan(await read_facts(owner), shards)
        if dry_run:
            for step in steps:
                tell(_planned(step), f"{step.sql};", as_json=as_json)
            return []
        if steps:
            await require_quiet(owner)
        rows = await _carry_out(owner, steps, as_json=as_json)
        failed = await verify(owner, settings.database_url, as_json=as_json)
    told = {"nodes": [str(node) for node in nodes], "steps": len(steps), "rows": rows, "isolated": not failed}
    sentence = f"{len(steps)} steps, {rows} rows moved; tenants' rows are spread over {len(nodes)} nodes."
    tell(told, sentence, as_json=as_json)
    return failed


async def _carry_out(owner: asyncpg.Connection, steps: list[Step], *, as_json: bool) -> int:
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows = 0
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bar:
        task = bar.add_task("", total=len(steps))
        for step in steps:
            bar.update(task, description=f"{step.action.value} {step.subject}")
            done = await carry_out(owner, step)
            rows += done.rows or 0
            bar.advance(task)
            if as_json:
                tell(_finished(done), "", as_json=True)
    return rows


async def verify(owner: asyncpg.Connection, app_url: str, *, as_json: bool) -> list[Check]:
    """Print what every check of the cluster has found, and return those that failed."""
    app = await asyncpg.connect(app_url, timeout=10)
    failed = []
    try:
        async for check in checks(owner, app):
            document = {"check": check.name, "passed": check.passed, "found": check.found}
            verdict = "passed" if check.passed else f"FAILED: {', '.join(check.found[:10])}"
            tell(document, f"{check.name}: {verdict}", as_json=as_json)
            if not check.passed:
                failed.append(check)
    finally:
        await app.close()
    return failed


def _planned(step: Step) -> dict[str, Any]:
    return {"action": step.action.value, "subject": step.subject, "sql": step.sql}


def _finished(done: Done) -> dict[str, Any]:
    return {"action": done.step.action.value, "subject": done.step.subject, "rows": done.rows}
