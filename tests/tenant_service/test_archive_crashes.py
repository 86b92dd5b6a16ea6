"""Workers that are killed while they export and import: started over, never half, never twice."""

import asyncio
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from mis_models.accounts import CountersRow, UserRow, UserTermRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.tables import AuditRow, Base, ConfigurationRow
from tenant_service.exports.service import RUN as RUN_EXPORT
from tenant_service.imports.service import RUN as RUN_IMPORT
from tests.answers import fine
from tests.database import connected, row_for
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service import archive_child
from tests.tenant_service.exports import ask_for, files_of, manifest_of, opened, rows_of, status_of
from tests.tenant_service.imports import archive_of, import_status, send, setting_row, user_row

PEOPLE = 2_500
SETTINGS = 20

Show = Callable[[], Awaitable[dict[str, Any]]]


class Child:
    """Does the work in a process that does nothing else; they are forked off one that has imported it all."""

    def __init__(self) -> None:
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload([archive_child.__name__])

    async def die(self, suite: Suite, tenant_id: UUID, kind: str, identifier: str, after: float) -> None:
        """Begin the work, and be killed `after` seconds later."""
        process = await asyncio.to_thread(self._begun, suite, tenant_id, kind, identifier)
        await asyncio.sleep(after)
        process.kill()
        await asyncio.to_thread(process.join)

    async def finish(self, suite: Suite, tenant_id: UUID, kind: str, identifier: str, show: Show) -> None:
        """Do what is left."""
        process = await asyncio.to_thread(self._begun, suite, tenant_id, kind, identifier)
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0

    def _begun(
        self, suite: Suite, tenant_id: UUID, kind: str, identifier: str
    ) -> multiprocessing.context.ForkServerProcess:
        urls = {name: getattr(suite.settings, name) for name in ("database_url", "storage_url")}
        told = urls | {"tenant": str(tenant_id), "kind": kind, "id": identifier}
        started, telling = self._forks.Pipe(duplex=False)
        process = self._forks.Process(target=archive_child.run, args=(told, telling))
        process.start()
        telling.close()
        assert started.recv() == "started"
        started.close()
        return process


class Worker:
    """Does the work as a worker claims it, among everything else that a worker does."""

    async def die(self, suite: Suite, tenant_id: UUID, kind: str, identifier: str, after: float) -> None:
        """Wait until a worker has claimed the job, and kill it `after` seconds later."""
        await self._let_leases_run_out(suite, tenant_id)
        before = min(2, await self._attempts(suite, tenant_id, kind))
        async with self._running(suite), asyncio.timeout(120):
            while await self._attempts(suite, tenant_id, kind) <= before:  # noqa: ASYNC110  # another process's doing
                await asyncio.sleep(0.01)
            await asyncio.sleep(after)

    async def finish(self, suite: Suite, tenant_id: UUID, kind: str, identifier: str, show: Show) -> None:
        """Let a worker do what is left."""
        await self._let_leases_run_out(suite, tenant_id)
        async with self._running(suite), asyncio.timeout(120):
            while (await show())["status"] not in ("completed", "failed"):  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _running(self, suite: Suite) -> AsyncIterator[asyncio.subprocess.Process]:
        names = ("database_url", "platform_database_url", "redis_url", "storage_url")
        others = ("public_url", "master_keys", "spool_dir")
        given = {f"MIS_{name.upper()}": str(getattr(suite.settings, name)) for name in (*names, *others)}
        environment = {"PATH": os.environ["PATH"]} | given
        async with killed(sys.executable, "-m", "mis_cli", "worker", env=environment) as process:
            yield process

    async def _attempts(self, suite: Suite, tenant_id: UUID, kind: str) -> int:
        async with suite.apps["tenant"].state.platform.platform_transaction() as session:
            asked = text(
                "select attempts from jobs where tenant_id = :tenant and kind = :kind "
                "order by id desc limit 1"
            )
            return int(await session.scalar(asked, {"tenant": tenant_id, "kind": kind}) or 0)

    async def _let_leases_run_out(self, suite: Suite, tenant_id: UUID) -> None:
        """Do what half a minute does, and keep the number of attempts from being the end."""
        async with suite.apps["tenant"].state.platform.platform_transaction() as session:
            late = text(
                "update jobs set leased_until = now() - interval '1 second', attempts = least(attempts, 2) "
                "where tenant_id = :tenant and state = 'running'"
            )
            await session.execute(late, {"tenant": tenant_id})


@asynccontextmanager
async def killed(
    *command: str, env: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process that is killed at the end of the block, if it has not ended before."""
    # What nobody reads is not to be kept for anybody: a full pipe would stop the worker.
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


# A few points always, and twenty under real workers in the deep run.
HANDS = [
    pytest.param(Child(), 3, id="few"),
    pytest.param(Worker(), 20, id="many", marks=pytest.mark.deep),
]


def drafts_of(suite: Suite, tenant_id: UUID) -> list[Path]:
    """Return what uploads that were killed have left of the tenant's."""
    root = Path(suite.settings.storage_url.removeprefix("file://"))
    return [path for path in (root / "tenants" / str(tenant_id)).rglob("*") if "#" in path.name]


async def peopled(suite: Suite, servers: TestServers) -> TenantHandle:
    """Return a tenant with so many users that an export of them takes a while."""
    tenant = await suite.tenant("custom")
    table = Base.metadata.tables["users"]
    rows = [row_for(table, tenant.id, {}, new_id().hex) for _ in range(PEOPLE)]
    columns = ", ".join(rows[0])
    places = ", ".join(f"${at}" for at in range(1, len(rows[0]) + 1))
    async with connected(servers.database().owner) as owner:
        sql = f"insert into users ({columns}) values ({places})"  # noqa: S608  # our model's names
        await owner.executemany(sql, [tuple(row.values()) for row in rows])
    return tenant


@pytest.mark.parametrize(("hands", "kills"), HANDS)
async def test_exports_whose_workers_are_killed_are_whole_in_the_end_and_nothing_before(
    suite: Suite, test_servers: TestServers, hands: Child | Worker, kills: int
) -> None:
    """Catalogue 118."""
    tenant = await peopled(suite, test_servers)
    dice, ended = random.Random(kills), 0  # dice
    asked = ""
    for _ in range(kills):
        asked = asked or fine(await ask_for(suite, tenant, "users"), 202)["exportId"]
        await hands.die(suite, tenant.id, RUN_EXPORT, asked, dice.random() * 0.3)
        shown = await status_of(suite, tenant, asked)
        if shown["status"] == "completed":
            await check_whole(suite, tenant, shown)
            asked, ended = "", ended + 1
        else:
            assert shown["status"] in ("queued", "running")
            assert (shown["downloadUrl"], shown["size"], shown["counts"]) == (None, None, None)
    asked = asked or fine(await ask_for(suite, tenant, "users"), 202)["exportId"]

    async def show() -> dict[str, Any]:
        return await status_of(suite, tenant, asked)

    await hands.finish(suite, tenant.id, RUN_EXPORT, asked, show)
    await check_whole(suite, tenant, await show())
    assert len(await files_of(suite, tenant.id)) == ended + 1
    assert drafts_of(suite, tenant.id) == []
    async with suite.database.transaction(tenant.id) as session:
        told = select(func.count()).where(AuditRow.action == "export.completed")
        assert await session.scalar(told) == ended + 1


async def check_whole(suite: Suite, tenant: TenantHandle, done: dict[str, Any]) -> None:
    """Every person is in the archive, once."""
    archive = await opened(suite, done)
    ids = [row["id"] for row in rows_of(archive, "users")]
    assert len(set(ids)) == len(ids) == manifest_of(archive)["counts"]["users"] == PEOPLE + 1


@pytest.mark.parametrize(("hands", "kills"), HANDS)
async def test_imports_whose_workers_are_killed_happen_once_and_are_never_half_to_be_seen(
    suite: Suite, hands: Child | Worker, kills: int
) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("custom")
    dice, ended, asked = random.Random(kills), 0, ""  # dice
    for number in range(kills):
        asked = asked or await send_people(suite, tenant, number)
        await hands.die(suite, tenant.id, RUN_IMPORT, asked, dice.random() * 2.0)
        shown = await import_status(suite, tenant, asked)
        if shown["status"] == "completed":
            asked, ended = "", ended + 1
        assert shown["status"] in ("queued", "running", "completed")
        assert await held(suite, tenant.id) == (ended * PEOPLE + 1, ended * PEOPLE + 1, ended * SETTINGS)
    asked = asked or await send_people(suite, tenant, kills)

    async def show() -> dict[str, Any]:
        return await import_status(suite, tenant, asked)

    await hands.finish(suite, tenant.id, RUN_IMPORT, asked, show)
    assert (await show())["report"]["dataTypes"]["users"]["create"] == PEOPLE
    ended += 1
    assert await held(suite, tenant.id) == (ended * PEOPLE + 1, ended * PEOPLE + 1, ended * SETTINGS)
    async with suite.database.transaction(tenant.id) as session:
        has_terms = select(UserTermRow.term).where(UserTermRow.user_id == UserRow.id).exists()
        untold = select(func.count()).select_from(UserRow).where(~has_terms)
        assert await session.scalar(untold) == 0
        told = select(func.count()).where(AuditRow.action == "import.completed")
        assert await session.scalar(told) == ended


async def send_people(suite: Suite, tenant: TenantHandle, number: int) -> str:
    """Have people and settings imported that no earlier archive had; return the import's id."""
    users = [user_row(f"person-{number}-{one}@x.example") for one in range(PEOPLE)]
    settings = [setting_row(f"app.k-{number}-{one}", one) for one in range(SETTINGS)]
    archive = archive_of(tenant, users=users, configurations=settings)
    return str(fine(await send(suite, tenant, archive), 202)["importId"])


async def held(suite: Suite, tenant_id: UUID) -> tuple[int | None, int | None, int | None]:
    """Return the count of users, the users and the configuration keys that are there."""
    async with suite.database.transaction(tenant_id) as session:
        return (
            await session.scalar(select(CountersRow.users)),
            await session.scalar(select(func.count()).select_from(UserRow)),
            await session.scalar(select(func.count()).select_from(ConfigurationRow)),
        )
