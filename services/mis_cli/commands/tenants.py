"""`mis tenants`: tenants are made, listed, closed, opened, ended and brought in from files."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from mis_cli.commands.options import DataDir
from mis_cli.deployment import find_deployment
from mis_cli.desk import Desk, act
from mis_cli.exits import REFUSED, STOPPED
from mis_cli.output import AsJson, refuse, tell
from mis_cli.tenant_lists.files import FileRefused, open_tenant_file
from mis_cli.tenant_lists.importing import TenantImport
from mis_cli.tenant_lists.listing import each_tenant, listed_document
from mis_cli.tenant_lists.report import ImportReport, kept_links
from mis_http.problems import field_problem
from mis_tenancy.errors import ProblemError, ValidationFailed
from mis_tenancy.plans import PlanName
from mis_tenancy.tenant import TenantStatus
from tenant_service.bulk.operations import Done
from tenant_service.lifecycle import service
from tenant_service.lifecycle.filters import TenantFilter
from tenant_service.lifecycle.schemas import Suspension, TenantCreate, TenantOut
from tenant_service.plan_migration.order import EffectiveAt, OnOverLimit, Order

app = typer.Typer(no_args_is_help=True, help="Tenants, by the rules and with the trail of the API.")

_LINKS_WOULD_BE_LOST = (
    "The file names owners, who choose a password by links that only this run can tell. Name a file for them "
    "by --invitations, or use --json."
)

Named = Annotated[str, typer.Argument(metavar="TENANT", help="Its id or slug.", show_default=False)]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.", show_default=False)],
    slug: Annotated[str, typer.Option(help="Its name in addresses.", show_default=False)],
    plan: Annotated[PlanName, typer.Option(help="The plan it is on.")] = PlanName.BASIC,
    subdomain: Annotated[str | None, typer.Option(help="Where it differs from the slug.")] = None,
    domain: Annotated[str | None, typer.Option(help="A domain of its own.")] = None,
    max_users: Annotated[int | None, typer.Option(help="The plan's where left out.")] = None,
    max_storage: Annotated[int | None, typer.Option(help="GiB; the plan's where left out.")] = None,
    owner_email: Annotated[str | None, typer.Option(help="Address of the first owner.")] = None,
    owner_name: Annotated[str | None, typer.Option(help="Name of the first owner.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--owner-password-stdin", help="Read the owner's password from standard input.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant, and its first owner where an address is given."""
    body = {"name": name, "slug": slug, "plan": plan, "subdomain": subdomain, "domain": domain}
    owner = {"email": owner_email, "name": owner_name}
    if password_stdin:
        owner["password"] = sys.stdin.readline().rstrip("\r\n")
    limits = {"maxUsers": max_users, "maxStorage": max_storage}
    given: dict[str, Any] = {field: value for field, value in {**body, **limits}.items() if value is not None}
    if any(owner.values()):
        given["owner"] = {field: value for field, value in owner.items() if value is not None}

    async def make(desk: Desk) -> Done:
        return await desk.operations.create(_checked(TenantCreate, given).value())

    _change(make, "Made", data_dir, as_json=as_json)


@app.command("list")
def list_tenants(
    status: Annotated[TenantStatus | None, typer.Option(help="Only those in this state.")] = None,
    plan: Annotated[PlanName | None, typer.Option(help="Only those on this plan.")] = None,
    q: Annotated[str | None, typer.Option(help="Beginnings of a name's words, a slug or a domain.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List tenants, newest first."""

    async def print_each(desk: Desk) -> None:
        async for row in each_tenant(desk.platform, TenantFilter(status, plan, q), limit):
            line = f"{row.slug:<32} {row.plan:<10} {row.status:<16} {row.id}  {row.name}"
            tell(listed_document(row), line, as_json=as_json)

    act(find_deployment(data_dir), print_each)


@app.command("suspend")
def suspend(
    tenant: Named,
    reason: Annotated[str, typer.Option(help="Why; its members are told.", show_default=False)],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close a tenant to its members within a second."""

    async def close(desk: Desk) -> Done:
        return await desk.operations.suspend(tenant, _checked(Suspension, {"reason": reason}).reason)

    _change(close, "Suspended", data_dir, as_json=as_json)


@app.command("reactivate")
def reactivate(tenant: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Open a suspended tenant again within a second."""
    _change(lambda desk: desk.operations.reactivate(tenant), "Reactivated", data_dir, as_json=as_json)


@app.command("migrate")
def migrate(
    tenant: Named,
    plan: Annotated[PlanName, typer.Option(help="The plan to move to.", show_default=False)],
    at: Annotated[EffectiveAt, typer.Option(help="When.")] = EffectiveAt.NOW,
    downtime: Annotated[bool, typer.Option("--downtime", help="Close it (503) meanwhile.")] = False,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Keep what is above the new limits; let nothing be added.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move a tenant to another plan."""
    order = Order(plan, downtime, at, OnOverLimit.FREEZE if freeze else OnOverLimit.BLOCK)
    verb = "Migrated" if at is EffectiveAt.NOW else "Will migrate at its period's end:"
    _change(lambda desk: desk.operations.migrate(tenant, order), verb, data_dir, as_json=as_json)


@app.command("delete")
def delete(
    tenant: Named,
    grace_days: Annotated[
        int | None, typer.Option(min=0, max=365, help="Until the purge; 30 where left out.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close a tenant at once and purge it after the grace, within which it can be restored."""
    grace = None if grace_days is None else timedelta(days=grace_days)
    _change(lambda desk: desk.operations.delete(tenant, grace), "Deleted", data_dir, as_json=as_json)


@app.command("restore")
def restore(tenant: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take a deletion back."""
    _change(lambda desk: desk.operations.restore(tenant), "Restored", data_dir, as_json=as_json)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header.", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen, and change nothing.")
    ] = False,
    invitations: Annotated[
        Path | None,
        typer.Option(
            help="File to add the owners' links to, which nobody can tell again; --json has them too."
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant of each row of a file; run it again after a stop, and it goes on.

    Columns: name, slug; plan, subdomain, domain, max_users, max_storage, owner_email, owner_name. Exit code 1
    says that rows were refused.
    """
    with open_tenant_file(file) as tenants, kept_links(invitations) as links:
        if tenants.has_owners and links is None and not (as_json or dry_run):
            raise FileRefused(_LINKS_WOULD_BE_LOST)
        report = ImportReport(tenants, links, is_trial=dry_run, as_json=as_json)

        async def bring_in(desk: Desk) -> None:
            async for result in TenantImport(desk, is_trial=dry_run).run(tenants.lines()):
                report.add(result)

        try:
            with report:
                act(find_deployment(data_dir), bring_in)
        except KeyboardInterrupt as error:
            report.conclude(is_stopped=True)
            raise typer.Exit(STOPPED) from error
    report.conclude(is_stopped=False)
    if report.has_failures:
        raise typer.Exit(REFUSED)


def _change(
    change: Callable[[Desk], Awaitable[Done]], verb: str, data_dir: Path | None, *, as_json: bool
) -> None:
    """Carry a change out and show the tenant, or why it was refused."""

    async def changed(desk: Desk) -> TenantOut:
        done = await change(desk)
        async with desk.application.transaction(done.tenant_id) as session:
            document = await service.read(session)
        return TenantOut.of(replace(document, owner_invitation=done.owner_invitation))

    try:
        tenant = act(find_deployment(data_dir), changed)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
    told = f"{verb} {tenant.slug} ({tenant.id}): {tenant.status.value}, plan {tenant.plan.value}."
    if tenant.owner_invitation is not None:
        told += f"\nThe owner chooses a password at {tenant.owner_invitation}"
    tell(tenant.wire(), told, as_json=as_json)


def _checked(body: Any, given: dict[str, Any]) -> Any:
    """Return the request's body, judged as the API judges it; raise ValidationFailed."""
    try:
        return body.model_validate(given)
    except ValidationError as error:
        raise ValidationFailed([field_problem(one) for one in error.errors()]) from error
