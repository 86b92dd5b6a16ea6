"""The purge: nothing is left of a tenant, wherever it was, and its neighbours lose nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import delete, select, update

from mis_jobs.jobs import MOST_ATTEMPTS, Job
from mis_models.endings import DeletionCertificateRow
from mis_models.platform import PlatformAuditRow
from mis_models.work import JobRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.policies import protection
from mis_tenancy.records.record import AuditRecord
from mis_tenancy.records.store import insert_records
from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.seals import SealKeys
from mis_tenancy.settings import MasterKeys
from mis_tenancy.storage import Storage
from mis_tenancy.tables import AuditRow, TenantNameRow, TenantRow
from tenant_service.audit_seals.sealing import Sealing
from tenant_service.endings import purge_repository
from tenant_service.endings.errors import ResidueFound, TablesOutOfReach
from tenant_service.endings.jobs import DUE_PURGES, PURGE, Purges
from tenant_service.endings.purge import Purge
from tenant_service.endings.tables import KEPT, purged_tables
from tenant_service.endings.traces import Found, Traces
from tests.answers import fine, refused
from tests.citus import on_cluster
from tests.database import connected
from tests.purging import (
    delete_now,
    fill,
    hear,
    purge,
    purging,
    rows_by_table,
    tables_of_tenants,
    traces_of,
)
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, create
from tests.waiting import someone_waits


@pytest.fixture(scope="module")
def owner_url(test_servers: TestServers) -> str:
    return test_servers.database().owner


@pytest.fixture
async def redis(suite: Suite) -> AsyncIterator[Redis]:
    redis = Redis(suite.settings.redis_url or "", 2.0)
    await redis.start()
    yield redis
    await redis.stop()


async def furnish(suite: Suite, redis: Redis, tenant_id: UUID, keys: int, objects: int) -> None:
    """Give the tenant keys in Redis and objects in the store."""
    storage = Storage(suite.settings.storage_url).of(tenant_id)
    for number in range(keys):
        await redis.command("SET", tenant_key(tenant_id, "test", str(number)), "x")
    for number in range(objects):
        await storage.put(f"media/{number}/content", b"x")


async def certificate(suite: Suite, tenant_id: UUID) -> httpx.Response:
    path = f"{TENANTS}/{tenant_id}/deletion-certificate"
    return await suite.client.get(path, headers=suite.operator)


async def row_of(suite: Suite, tenant_id: UUID) -> TenantRow:
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        row: TenantRow = await session.get_one(TenantRow, tenant_id)
    return row


async def rows_of_others(url: str, tenant_id: UUID) -> dict[tuple[str, UUID], int]:
    """Return how many rows each other tenant has in each table."""
    counts: dict[tuple[str, UUID], int] = {}
    async with connected(url) as connection:
        for table in await tables_of_tenants(connection):
            found = await connection.fetch(
                f"select tenant_id, count(*) as n from {table} "  # noqa: S608  # from the catalogue
                "where tenant_id <> $1 group by 1",
                tenant_id,
            )
            counts |= {(table, row["tenant_id"]): row["n"] for row in found}
    return counts


async def test_nothing_is_left_of_a_tenant_and_its_neighbours_lose_nothing(
    suite: Suite, owner_url: str, redis: Redis
) -> None:
    """Catalogue 119."""
    tenant, neighbour = await suite.tenant("custom"), await suite.tenant("custom")
    for one, rows in ((tenant, 5), (neighbour, 1)):
        await suite.user(one)
        await fill(owner_url, one.id, rows)
        await furnish(suite, redis, one.id, keys=3, objects=2)
    await delete_now(suite, tenant.id)
    before = await rows_by_table(owner_url, tenant.id)
    others = await rows_of_others(owner_url, tenant.id)
    async with purging(suite, rows_at_once=2) as worker:
        await worker.run(tenant.id)
    await hear(suite)
    assert await rows_by_table(owner_url, tenant.id) == {}
    kept = await rows_of_others(owner_url, tenant.id)
    assert {key: kept.get(key, 0) for key in others if kept.get(key, 0) < others[key]} == {}
    async with traces_of(suite) as traces:
        assert await traces.count(tenant.id) == Found(0, 0)
        assert (await traces.count(neighbour.id)).objects == 2
        assert (await traces.count(neighbour.id)).redis_keys >= 3
    claims = fine(await certificate(suite, tenant.id))["claims"]
    # Requests of these very seconds may have added rows to the log and the ledger.
    found = claims["deleted"]["rows"]
    assert {name: (n, found[name]) for name, n in before.items() if found[name] < n} == {}
    assert found["users"] == before["users"]
    assert claims["deleted"]["objects"] == 2
    assert claims["deleted"]["redisKeys"] >= 3
    assert claims["deleted"]["keysShredded"] >= before["tenant_data_keys"] + before["audit_actor_keys"]
    # What was made up for it is nothing that other tests should meet.
    await purge(suite, neighbour.id)


async def test_the_purge_knows_every_table_that_names_a_tenant(owner_url: str) -> None:
    """A table that somebody adds is purged by itself; to be kept, it needs a reason. Catalogue 119."""
    async with connected(owner_url) as connection:
        there = set(await tables_of_tenants(connection))
    purged = [table.name for table in purged_tables()]
    assert set(purged) | KEPT.keys() == there | {"tenants"}
    assert purged.index("sessions") < purged.index("users")
    for table in purged_tables():
        parents = {key.referred_table.name for key in table.foreign_key_constraints} - {"tenants", table.name}
        assert all(purged.index(table.name) < purged.index(parent) for parent in parents), table.name


async def test_what_stays_is_an_id_without_a_name_and_names_that_nobody_gets(
    suite: Suite, owner_url: str
) -> None:
    """Catalogue 119."""
    subdomain = f"sub-{new_id().hex[-8:]}"
    tenant = await suite.tenant("custom", subdomain=subdomain, domain=f"{subdomain}.example")
    await purge(suite, tenant.id)
    row = await row_of(suite, tenant.id)
    assert (row.name, row.slug, row.subdomain, row.domain) == ("", str(tenant.id), str(tenant.id), None)
    assert (row.status, row.status_reason, row.max_users) == ("purged", None, None)
    async with connected(owner_url) as connection:
        # Whatever columns there are: none tells who it was.
        whole = await connection.fetchval("select to_jsonb(t)::text from tenants t where id = $1", tenant.id)
    for word in (tenant.slug, subdomain, tenant.document["name"]):
        assert word.lower() not in whole.lower()
    for name in (tenant.slug, subdomain):
        refused(await create(suite, slug=name), 409, "slug_taken")
    # A domain is proven anew by whoever claims it, so it is not held back.
    fine(await create(suite, domain=f"{subdomain}.example"), 201)
    listed = fine(
        await suite.client.get(TENANTS, params={"status": "purged", "limit": 200}, headers=suite.operator)
    )
    assert str(tenant.id) in [one["id"] for one in listed]
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        own = TenantNameRow.tenant_id == tenant.id
        until = list(await session.scalars(select(TenantNameRow.reserved_until).where(own)))
        assert [timedelta(days=89) < one - datetime.now(UTC) <= timedelta(days=90) for one in until] == [
            True,
            True,
        ]
        await session.execute(
            update(TenantNameRow).where(own).values(reserved_until=datetime.now(UTC) - timedelta(seconds=1))
        )
        log = select(PlatformAuditRow.action).where(PlatformAuditRow.tenant_id == tenant.id)
        assert {"tenant.created", "tenant.deleted", "tenant.purged"} <= set(await session.scalars(log))
    fine(await create(suite, slug=tenant.slug), 201)


async def test_a_purged_tenant_is_nobodys_any_more(suite: Suite) -> None:
    """Catalogue 3, 5 and 67."""
    tenant = await suite.tenant("custom")
    await purge(suite, tenant.id)
    refused(await suite.client.get("/api/v1/users", headers=tenant.auth), 401, "token_revoked")
    body = {"refreshToken": tenant.owner.refresh_token}
    refused(await suite.post_anonymously("/api/v1/auth/refresh", body), 401, "token_invalid")
    who = {"email": tenant.owner_email, "password": tenant.owner_password, "tenantSlug": tenant.slug}
    refused(await suite.post_anonymously("/api/v1/auth/login", who), 401, "invalid_credentials")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/restore"), ("POST", "/reactivate")):
        for named in (tenant.id, tenant.slug):
            answer = await suite.client.request(method, f"{TENANTS}/{named}{path}", headers=suite.operator)
            refused(answer, 404, "tenant_not_found")
    body = {"tenantId": str(tenant.id), "reason": "A test visits."}
    refused(
        await suite.client.post("/api/v1/auth/act-as", json=body, headers=suite.operator),
        404,
        "tenant_not_found",
    )


async def test_what_is_not_due_is_not_touched(suite: Suite, owner_url: str) -> None:
    tenant = await suite.tenant("custom")
    async with purging(suite) as purge:
        await purge.run(tenant.id)
        fine(await suite.client.delete(f"{TENANTS}/{tenant.id}", headers=suite.operator), 202)
        await purge.run(tenant.id)
        await delete_now(suite, tenant.id)
        fine(await suite.client.post(f"{TENANTS}/{tenant.id}/restore", headers=suite.operator))
        await purge.run(tenant.id)
    assert (await row_of(suite, tenant.id)).status == "active"
    assert (await rows_by_table(owner_url, tenant.id))["users"] == 1
    problem = refused(await certificate(suite, tenant.id), 409, "tenant_not_purged")
    assert (problem["tenantStatus"], problem["startedAt"], problem["reasons"]) == ("active", None, [])


class Broken(Traces):
    """Traces of which some step fails or does nothing."""

    def __init__(self, traces: Traces, *, raises: bool) -> None:
        self._traces = traces
        self._raises = raises

    async def count(self, tenant_id: UUID) -> Found:
        return await self._traces.count(tenant_id)

    async def remove(self, tenant_id: UUID) -> None:
        if self._raises:
            raise OSError("away")


def with_traces(purge: Purge, **options: Any) -> Purge:
    purge._traces = Broken(purge._traces, **options)
    return purge


async def test_once_a_purge_has_begun_there_is_no_way_back(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    narrow = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    async with purging(suite) as purge:
        with pytest.raises(OSError, match="away"):
            await with_traces(purge, raises=True).run(tenant.id)
    await hear(suite)
    restore = f"{TENANTS}/{tenant.id}/restore"
    refused(await suite.client.post(restore, headers=narrow.auth), 401, "token_revoked")
    who = {"email": tenant.owner_email, "password": tenant.owner_password, "tenantSlug": tenant.slug}
    refused(await suite.post_anonymously("/api/v1/auth/login", who), 401, "invalid_credentials")
    refused(await suite.client.post(restore, headers=suite.operator), 403, "tenant_pending_deletion")
    delete = await suite.client.delete(f"{TENANTS}/{tenant.id}?graceDays=9", headers=suite.operator)
    refused(delete, 403, "tenant_pending_deletion")
    for path in ("", "/config", "/usage", "/audit-logs"):
        # Half of what they would show is gone.
        asked = await suite.client.get(f"{TENANTS}/{tenant.id}{path}", headers=suite.operator)
        refused(asked, 403, "tenant_pending_deletion")
    visit = {"tenantId": str(tenant.id), "reason": "A test visits."}
    answer = await suite.client.post("/api/v1/auth/act-as", json=visit, headers=suite.operator)
    refused(answer, 404, "tenant_not_found")
    shown = await suite.client.get(f"{TENANTS}/{tenant.id}/deletion-certificate", headers=suite.operator)
    assert refused(shown, 409, "tenant_not_purged")["startedAt"]
    async with purging(suite) as purge:
        await purge.run(tenant.id)
    fine(await certificate(suite, tenant.id))


async def test_keys_are_shredded_before_anything_else(
    suite: Suite, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 119."""
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)

    async def fail(*_: Any) -> Any:
        raise OSError("away")

    monkeypatch.setattr(purge_repository, "delete_some", fail)
    async with purging(suite) as purge:
        with pytest.raises(OSError, match="away"):
            await purge.run(tenant.id)
    left = await rows_by_table(owner_url, tenant.id)
    assert not {"tenant_data_keys", "audit_actor_keys"} & left.keys()
    assert left["users"] == 1


async def test_a_forgotten_table_leaves_no_tombstone_and_says_what_is_left(
    suite: Suite, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    delete_some = purge_repository.delete_some

    async def forgetful(session: Any, table: Any, most: int) -> tuple[int, bool]:
        return (0, False) if table.name == "audit_logs" else await delete_some(session, table, most)

    monkeypatch.setattr(purge_repository, "delete_some", forgetful)
    async with purging(suite) as purge:
        with pytest.raises(ResidueFound) as caught:
            await purge.run(tenant.id)
        await purge.note_failure(tenant.id, caught.value)
        await purge.note_rest(tenant.id)
    assert (await row_of(suite, tenant.id)).status == "pending_deletion"
    problem = refused(await certificate(suite, tenant.id), 409, "tenant_not_purged")
    left = (await rows_by_table(owner_url, tenant.id))["audit_logs"]
    assert problem["reasons"] == [f"{left} rows in audit_logs"]
    assert problem["failedAt"]
    monkeypatch.undo()
    async with purging(suite) as purge:
        await purge.run(tenant.id)
    assert fine(await certificate(suite, tenant.id))["claims"]["deleted"]["rows"]["audit_logs"] == left


@pytest.mark.parametrize(("keys", "objects", "reason"), [(2, 0, "2 Redis keys"), (0, 3, "3 objects")])
async def test_forgotten_keys_and_objects_leave_no_tombstone_either(
    suite: Suite, redis: Redis, keys: int, objects: int, reason: str
) -> None:
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    async with traces_of(suite) as traces:
        await traces.remove(tenant.id)
    await furnish(suite, redis, tenant.id, keys, objects)
    async with purging(suite) as purge:
        with pytest.raises(ResidueFound) as caught:
            await with_traces(purge, raises=False).run(tenant.id)
    assert caught.value.reasons == [reason]
    assert (await row_of(suite, tenant.id)).status == "pending_deletion"


def a_record(tenant_id: UUID) -> AuditRecord:
    origin = Origin("203.0.113.7", "a browser")
    return AuditRecord(
        tenant_id,
        "request",
        "GET /api/v1/users",
        actor=new_id(),
        origin=origin,
        outcome="success",
        status=200,
    )


async def test_records_that_come_late_go_nowhere_and_hold_nobody_up(suite: Suite, owner_url: str) -> None:
    tenant, neighbour = await suite.tenant("custom"), await suite.tenant("custom")
    await purge(suite, tenant.id)
    late, other = a_record(tenant.id), a_record(neighbour.id)
    await insert_records(suite.database, [late, other])
    assert await rows_by_table(owner_url, tenant.id) == {}
    async with suite.database.transaction(neighbour.id) as session:
        assert await session.get(AuditRow, (neighbour.id, other.id)) is not None


# There nobody shares the directory's row: what comes in this moment, later scans find (docs/scaling.md).
waited_for = pytest.mark.skipif(on_cluster(), reason="On a cluster a purge waits for no writer.")


@waited_for
async def test_a_record_that_is_written_while_the_tombstone_is_set_up_goes_nowhere(
    suite: Suite, owner_url: str
) -> None:
    tenant = await suite.tenant("custom")
    await suite.tenancy("tenant").recorder.flush()
    platform = suite.apps["tenant"].state.platform
    async with platform.transaction(tenant.id) as session:
        row = await purge_repository.hold_tenant(session)
        writing = asyncio.create_task(insert_records(suite.database, [late := a_record(tenant.id)]))
        await someone_waits(suite, writing, "mis_app")
        row.status = "purged"
    await writing
    async with suite.database.transaction(tenant.id) as session:
        assert await session.get(AuditRow, (tenant.id, late.id)) is None


@waited_for
async def test_no_seal_is_laid_over_a_tombstone(suite: Suite, owner_url: str) -> None:
    tenant = await suite.tenant("custom")
    await suite.tenancy("tenant").recorder.flush()
    platform = suite.apps["tenant"].state.platform
    sealing = Sealing(platform, SealKeys(MasterKeys.parse(suite.settings.master_keys)))
    held = asyncio.Event()

    async def seal() -> None:
        # An older transaction anywhere on the server holds the rows back from a pass.
        while not held.is_set():
            await sealing.seal()
            await asyncio.sleep(0.02)

    async with platform.transaction(tenant.id) as session:
        row = await purge_repository.hold_tenant(session)
        running = asyncio.create_task(seal())
        await someone_waits(suite, running, "mis_platform")
        held.set()
        row.status = "purged"
    await running
    assert "audit_seals" not in await rows_by_table(owner_url, tenant.id)


@waited_for
async def test_a_write_in_flight_is_waited_for_and_found(suite: Suite, owner_url: str) -> None:
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    async with purging(suite) as purge:
        async with suite.database.transaction(tenant.id) as session:
            session.add(AuditRow(id=new_id(), kind="change", action="test.slow", outcome="success"))
            await session.flush()
            running = asyncio.create_task(purge.run(tenant.id))
            await someone_waits(suite, running, "mis_platform")
            assert not running.done()
        with pytest.raises(ResidueFound) as caught:
            await running
        assert caught.value.reasons == ["1 rows in audit_logs"]
        await purge.run(tenant.id)
    assert await rows_by_table(owner_url, tenant.id) == {}
    assert (await row_of(suite, tenant.id)).status == "purged"


async def test_a_later_look_removes_what_a_straggler_has_written(
    suite: Suite, owner_url: str, redis: Redis
) -> None:
    tenant = await suite.tenant("custom")
    await purge(suite, tenant.id)
    async with purging(suite) as after:
        assert await after.look_again(tenant.id) is False
        await fill(owner_url, tenant.id, 1)
        await furnish(suite, redis, tenant.id, keys=1, objects=1)
        assert await after.look_again(tenant.id) is True
        assert await after.look_again(tenant.id) is False
    assert await rows_by_table(owner_url, tenant.id) == {}
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        removed = PlatformAuditRow.action == "tenant.residue_removed"
        log = select(PlatformAuditRow.reason).where(PlatformAuditRow.tenant_id == tenant.id, removed)
        (reason,) = await session.scalars(log)
        jobs = select(JobRow.run_at).where(JobRow.lane == tenant.id, JobRow.kind == "tenant_purge_look")
        assert len(list(await session.scalars(jobs))) == 2
    assert "1 Redis keys" in reason


async def test_a_purge_leaves_no_word_of_itself_for_readers_of_replicas(suite: Suite, redis: Redis) -> None:
    """Catalogue 119: else the key would outlive the certificate, and each later look would leave it anew."""
    tenant = await suite.tenant()
    positions, platform = Positions(redis), suite.apps["tenant"].state.platform
    await delete_now(suite, tenant.id)
    platform.on_write = positions.note
    try:
        await positions.note(tenant.id, 1)
        async with purging(suite) as purge, traces_of(suite) as traces:
            await purge.run(tenant.id)
            assert await traces.count(tenant.id) == Found(0, 0)
            await positions.note(tenant.id, 2)
            assert await purge.look_again(tenant.id)
            assert not await purge.look_again(tenant.id)
    finally:
        platform.on_write = None
        await positions.stop()
    claims = fine(
        await suite.client.get(f"{TENANTS}/{tenant.id}/deletion-certificate", headers=suite.operator)
    )["claims"]
    assert claims["deleted"]["redisKeys"] >= 1


async def test_two_workers_purge_one_tenant_and_count_each_row_once(suite: Suite, owner_url: str) -> None:
    tenant = await suite.tenant("custom")
    await fill(owner_url, tenant.id, 30)
    await delete_now(suite, tenant.id)
    before = (await rows_by_table(owner_url, tenant.id))["users"]

    async def run(purge: Purge) -> None:
        try:
            await purge.run(tenant.id)
        except ResidueFound:
            await purge.run(tenant.id)

    async with purging(suite, rows_at_once=5) as one, purging(suite, rows_at_once=7) as two:
        await asyncio.gather(run(one), run(two))
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        record = await session.get_one(DeletionCertificateRow, tenant.id)
    assert record.deleted["users"] == before
    assert record.certificate


async def test_a_purge_that_fails_for_good_rests_and_is_then_tried_again(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    platform = suite.apps["tenant"].state.platform
    payload = {"tenantId": str(tenant.id)}

    async def due(pause: timedelta) -> bool:
        async with platform.platform_transaction() as session:
            return tenant.id in await purge_repository.due_tenants(session, pause, 1_000)

    async with purging(suite) as purge:
        purges = Purges(platform, with_traces(purge, raises=True))
        for attempt in (1, MOST_ATTEMPTS):
            assert await due(timedelta(hours=1))
            with pytest.raises(OSError, match="away"):
                await purges.purge(Job(new_id(), None, PURGE, payload, attempt))
        await purges.rest(Job(new_id(), None, PURGE, payload, MOST_ATTEMPTS + 1))
    assert not await due(timedelta(hours=1))
    assert await due(timedelta(0))
    problem = refused(await certificate(suite, tenant.id), 409, "tenant_not_purged")
    assert (problem["reasons"], problem["failedAt"] is not None) == (["OSError"], True)
    async with purging(suite) as purge:
        purges = Purges(platform, purge)
        # The schedule leaves one job for each tenant, however often it looks.
        async with platform.platform_transaction() as session:
            await session.execute(delete(JobRow).where(JobRow.lane == tenant.id))
            own = update(DeletionCertificateRow).where(DeletionCertificateRow.tenant_id == tenant.id)
            await session.execute(own.values(failed_at=datetime.now(UTC) - timedelta(hours=2)))
        for _ in range(2):
            await purges.start_due(Job(new_id(), None, DUE_PURGES, {}, 1))
        async with platform.platform_transaction() as session:
            (job,) = await session.scalars(select(JobRow).where(JobRow.lane == tenant.id))
        await purges.purge(Job(job.id, job.tenant_id, job.kind, job.payload, 1))
    fine(await certificate(suite, tenant.id))


async def test_only_operators_see_a_certificate(suite: Suite) -> None:
    gone, living = await suite.tenant("custom"), await suite.tenant("custom")
    await purge(suite, gone.id)
    path = f"{TENANTS}/{gone.id}/deletion-certificate"
    refused(await suite.client.get(path, headers=living.auth), 403, "permission_denied")
    refused(await suite.client.get(path, headers=gone.auth), 401, "token_revoked")
    unknown = f"{TENANTS}/{new_id()}/deletion-certificate"
    refused(await suite.client.get(unknown, headers=suite.operator), 404, "tenant_not_found")


async def test_rows_of_a_service_beside_the_suite_go_too(suite: Suite, owner_url: str) -> None:
    """Catalogue 119."""
    tenant, neighbour = await suite.tenant("custom"), await suite.tenant("custom")
    async with beside(owner_url) as owner:
        for one in (tenant, neighbour):
            for number in range(3):
                await owner.execute("insert into beside.boxes values ($1, $2, 0)", one.id, number)
                await owner.execute("insert into beside.things values ($1, $2, $2)", one.id, number)
        await delete_now(suite, tenant.id)
        async with purging(suite, rows_at_once=2) as worker:
            await worker.run(tenant.id)
        for table in ("boxes", "things"):
            rows = await owner.fetch(f"select distinct tenant_id from beside.{table}")  # noqa: S608  # of this test
            assert [row["tenant_id"] for row in rows] == [neighbour.id]
    claims = fine(await certificate(suite, tenant.id))["claims"]
    found = claims["deleted"]["rows"]
    assert (found["beside.boxes"], found["beside.things"]) == (3, 3)


@pytest.mark.parametrize(
    "barred",
    [
        "revoke delete on beside.things from mis_platform",
        "revoke usage on schema beside from mis_platform",
        "alter policy tenant_isolation on beside.things to mis_app",
    ],
)
async def test_what_cannot_be_looked_into_is_not_certified_to_be_empty(
    suite: Suite, owner_url: str, barred: str
) -> None:
    """Catalogue 119."""
    tenant = await suite.tenant("custom")
    async with beside(owner_url) as owner:
        await owner.execute(barred)
        await delete_now(suite, tenant.id)
        async with purging(suite) as worker:
            with pytest.raises(TablesOutOfReach) as refusal:
                await worker.run(tenant.id)
            await worker.note_failure(tenant.id, refusal.value)
        problem = refused(await certificate(suite, tenant.id), 409, "tenant_not_purged")
        assert problem["reasons"][-1].startswith("beside.things refers to tenants, and mis_platform may not")
        # Whatever is in reach is gone all the same.
        assert "users" not in await rows_by_table(owner_url, tenant.id)
    async with purging(suite) as worker:
        await worker.run(tenant.id)
    fine(await certificate(suite, tenant.id))


@asynccontextmanager
async def beside(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield the owner's connection to a database with two tables of a service beside the suite's."""
    columns = "tenant_id uuid not null references tenants (id), id bigint not null, box bigint"
    keys = "primary key (tenant_id, id), foreign key (tenant_id, box) references beside.boxes (tenant_id, id)"
    tables = ";".join(f"create table beside.{name} ({columns}, {keys})" for name in ("boxes", "things"))
    async with connected(owner_url) as owner:
        await owner.execute(f"create schema beside; {tables}")
        try:
            for statement in (*protection("beside.boxes"), *protection("beside.things")):
                await owner.execute(statement)
            await owner.execute("grant usage on schema beside to mis_app, mis_platform")
            yield owner
        finally:
            await owner.execute("drop schema beside cascade")
