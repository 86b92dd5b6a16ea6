"""`mis adopt`: a single-tenant database becomes a multi-tenant one while it serves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from mis_cli.adoption.adopting import Look, Order, find_tenant, finish, look
from mis_cli.adoption.adopting import adopt as take_over
from mis_cli.adoption.planning import Step
from mis_cli.adoption.running import Hear
from mis_cli.commands.options import DataDir
from mis_cli.deployment import find_deployment, recorded_settings
from mis_cli.desk import Desk, act
from mis_cli.exits import REFUSED
from mis_cli.output import AsJson, refuse, tell
from mis_cli.settings import OwnerSettings
from mis_tenancy.errors import ProblemError
from mis_tenancy.plans import PlanName
from tenant_service.lifecycle.creation import NewTenant

_NOT_YET: Final = "00000000-0000-0000-0000-000000000000"


def adopt(
    schema: Annotated[str, typer.Option(help="The schema of your tables.")] = "public",
    table: Annotated[
        list[str] | None, typer.Option(help="One to adopt, again for each; all where left out.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Slug of the tenant that present rows become.")] = "default",
    name: Annotated[str, typer.Option(help="Its name, where it is made.")] = "Default Organization",
    plan: Annotated[PlanName, typer.Option(help="Its plan, where it is made.")] = PlanName.BASIC,
    keep_serving: Annotated[
        list[str] | None,
        typer.Option(help="A role of the present service, which sees all rows until --finish."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL, and change nothing.")] = False,
    is_finish: Annotated[
        bool, typer.Option("--finish", help="After the switch: let nobody see all rows any more.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give your tables a tenant, keys that hold it and forced row-level security, beside running traffic.

    Acts as the role of MIS_MIGRATION_DATABASE_URL, which must own the tables. Stop it whenever you like and
    run it again: it does what is missing.
    """
    owner = OwnerSettings.of(recorded_settings(data_dir)).migration_database_url
    order = Order(schema, tuple(table or ()), tuple(keep_serving or ()))
    if is_finish:
        with _bar(as_json=as_json) as hear:
            steps = asyncio.run(finish(owner, order, hear))
        tell({"steps": len(steps)}, f"Finished: {len(steps)} steps.", as_json=as_json)
        return
    tenant_id = asyncio.run(find_tenant(owner, tenant))
    if dry_run:
        _print(asyncio.run(look(owner, order, tenant_id or _NOT_YET)), tenant, as_json=as_json)
        return
    if tenant_id is None:
        tenant_id = _made(NewTenant(name, tenant, tenant, plan), data_dir, as_json=as_json)
    before = asyncio.run(look(owner, order, tenant_id))
    with _bar(as_json=as_json) as hear:
        after = asyncio.run(take_over(owner, order, tenant_id, hear))
    _conclude(before, after, tenant, as_json=as_json)


def _made(new: NewTenant, data_dir: Path | None, *, as_json: bool) -> str:
    """Make the tenant as `mis tenants create` does, and return its id."""

    async def make(desk: Desk) -> str:
        return str((await desk.operations.create(new)).tenant_id)

    try:
        return act(find_deployment(data_dir), make)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error


@contextmanager
def _bar(*, as_json: bool) -> Iterator[Hear]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bar:
        tasks: dict[Step, TaskID] = {}

        def hear(step: Step, done: float) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(f"{step.phase.value:<9} {step.sql[:80]}", total=1.0)
            bar.update(tasks[step], completed=done)

        yield hear


def _print(found: Look, tenant: str, *, as_json: bool) -> None:
    """Print the plan as SQL that could be run by hand, after what there is to say."""
    for concern in found.concerns:
        about = {"about": concern.about, "concern": concern.text, "stops": concern.stops}
        tell(about, f"-- {concern.about}: {concern.text}", as_json=as_json)
    for step in found.steps:
        repeated = "  -- over ranges of ctid" if step.fills else ""
        tell(asdict(step), f"{step.sql};{repeated}", as_json=as_json)
    if not as_json and _NOT_YET in "".join(step.sql for step in found.steps):
        typer.echo(f"-- {_NOT_YET} stands for the tenant {tenant!r}, which would be made first.")


def _conclude(before: Look, after: Look, tenant: str, *, as_json: bool) -> None:
    adopted = [table.name for table in after.database.tables if table.is_forced]
    left = sorted({concern.about for concern in after.concerns if concern.stops})
    document = {
        "tenant": tenant,
        "adopted": adopted,
        "leftOut": left,
        "steps": len(before.steps),
        "concerns": [asdict(concern) for concern in before.concerns],
    }
    told = [f"{concern.about}: {concern.text}" for concern in before.concerns]
    told.append(f"Adopted {', '.join(adopted) or 'nothing'} for the tenant {tenant}.")
    if left:
        told.append(f"Left out: {', '.join(left)}.")
    tell(document, "\n".join(told), as_json=as_json)
    if left:
        raise typer.Exit(REFUSED)
