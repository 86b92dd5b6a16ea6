"""`mis tenants isolate` and `mis tenants move`: a large tenant gets a part of the cluster to itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console

from mis_cli.commands.distribute import answering, verify
from mis_cli.commands.tenants import Named
from mis_cli.distribution.cluster import Node, require_cluster
from mis_cli.distribution.placement import Place, place_of
from mis_cli.distribution.placement import isolate as isolate_rows
from mis_cli.distribution.placement import move as move_rows
from mis_cli.distribution.running import opened
from mis_cli.distribution.verification import Check
from mis_cli.output import AsJson, tell
from mis_cli.settings import PlacementSettings
from mis_tenancy.settings import SettingsError

_Change = Callable[[asyncpg.Connection, Place, list[Node]], Awaitable[None]]


def isolate(tenant: Named, as_json: AsJson = False) -> None:
    """Give a tenant's rows a part of the cluster to themselves, on the node where they are.

    Its writes wait meanwhile. Run it again after a stop. Exit code 1 says that the result does not isolate
    tenants as it must.
    """

    async def change(admin: asyncpg.Connection, place: Place, nodes: list[Node]) -> None:
        await isolate_rows(admin, place)

    _carry_out(tenant, change, as_json=as_json)


def move(
    tenant: Named,
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="The node to move to.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Move a tenant's rows to another node, with those of the tenants it shares its part with.

    Isolate it first to move it alone. Its writes wait meanwhile. Run it again after a stop. Exit code 1 as
    for `isolate`.
    """

    async def change(admin: asyncpg.Connection, place: Place, nodes: list[Node]) -> None:
        target = next((node for node in nodes if str(node) == to), None)
        if target is None:
            known = ", ".join(map(str, nodes))
            raise SettingsError(f"{to} is no node that keeps tenants' rows; those are {known}.")
        await move_rows(admin, place, target)

    _carry_out(tenant, change, as_json=as_json)


def _carry_out(tenant: str, change: _Change, *, as_json: bool) -> None:
    settings = PlacementSettings.read()

    async def changed() -> list[Check]:
        async with opened(settings.superuser_database_url) as admin:
            nodes = await require_cluster(admin)
            before = await place_of(admin, tenant)
            with Console(stderr=True).status(f"{before.slug}: part {before.shard} on {before.node}"):
                await change(admin, before, nodes)
            after = await place_of(admin, tenant)
            failed = await verify(admin, settings.database_url, as_json=as_json)
        is_changed = replace(before, neighbours=0) != replace(after, neighbours=0)
        tell(_document(after, is_changed), _sentence(after, is_changed), as_json=as_json)
        return failed

    answering(lambda: asyncio.run(changed()))


def _document(place: Place, is_changed: bool) -> dict[str, Any]:
    return {
        "tenantId": str(place.tenant_id),
        "slug": place.slug,
        "shard": place.shard,
        "node": str(place.node),
        "alone": place.is_alone,
        "neighbours": place.neighbours,
        "changed": is_changed,
    }


def _sentence(place: Place, is_changed: bool) -> str:
    company = "alone" if place.is_alone else f"together with {place.neighbours} others"
    verb = "lies now" if is_changed else "lay already"
    return f"{place.slug} ({place.tenant_id}) {verb} in part {place.shard} on {place.node}, {company}."
