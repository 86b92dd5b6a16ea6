"""The recorder on a real Postgres, through outages, lost commits and refusals; the row of a change."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from mis_tenancy.audit import AuditRecord, Recorder, Spool, record_change
from mis_tenancy.audit_changes import without_personal_values
from mis_tenancy.database import Database
from mis_tenancy.errors import AuditUnavailable, TenantUnbound
from mis_tenancy.identifiers import new_id, time_of
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.records.store import insert_records
from mis_tenancy.session import TenantSession
from mis_tenancy.spool.adoption import adopt_orphans
from mis_tenancy.spool.drain import Rejects
from mis_tenancy.spool.writing import spool_directories
from tests.mis_tenancy.spool_fixtures import (
    LINES,
    Cable,
    Ledger,
    SpoolServer,
    opened_cable,
    opened_database,
    opened_ledger,
    request_of,
    spool_server,
)
from tests.servers import TestServers

NEVER = 3600.0


@pytest.fixture(scope="session")
def server(test_servers: TestServers) -> SpoolServer:
    return spool_server(test_servers)


@pytest.fixture
async def database(server: SpoolServer) -> AsyncIterator[Database]:
    async with opened_database(server.app_url) as database:
        yield database


@pytest.fixture
async def cable(server: SpoolServer) -> AsyncIterator[Cable]:
    async with opened_cable(server.app_url) as cable:
        yield cable


@pytest.fixture
async def distant_database(cable: Cable) -> AsyncIterator[Database]:
    """The same database, at the end of the cable."""
    async with opened_database(cable.url) as database:
        yield database
        cable.mend()


@pytest.fixture
async def ledger(server: SpoolServer) -> AsyncIterator[Ledger]:
    async with opened_ledger(server) as ledger:
        yield ledger


@asynccontextmanager
async def recording(
    directory: Path, database: Database, *, interval: float = NEVER, **options: Any
) -> AsyncIterator[Recorder]:
    """Yield a recorder that drains only when it is asked to, unless an interval is given."""
    recorder = Recorder(Spool(directory, 2**26, "tests", LINES), database, interval=interval, **options)
    await recorder.start()
    # Let the background have its first turn now, so that it does not mix in later.
    await asyncio.sleep(0)
    try:
        yield recorder
    finally:
        await recorder.stop()


def serve(recorder: Recorder, tenant: UUID, status: int = 200, **fields: Any) -> AuditRecord:
    record = request_of(tenant, **fields)
    recorder.admit(record)
    recorder.finish(record.id, status, "success" if status < 400 else "refused", 1500)
    return record


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # other processes and a socket are part of what is waited for
            await asyncio.sleep(0.02)


def lines(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def rejected_file(directory: Path) -> Path:
    return directory / "rejected" / "tests.jsonl"


async def test_a_finished_request_arrives_whole(tmp_path: Path, database: Database, ledger: Ledger) -> None:
    tenant, actor = await ledger.new_tenant(), new_id()
    async with recording(tmp_path, database) as recorder:
        record = serve(
            recorder,
            tenant,
            actor=actor,
            actor_kind="member",
            resource="users/7",
            origin=Origin("2001:db8::1", "curl/8.9"),
            request_id="r-1",
            sources=("token", "subdomain"),
        )
        assert recorder.pending == 1
        await recorder.flush()
        assert recorder.pending == 0
    (row,) = await ledger.rows()
    assert {name: value for name, value in row.items() if name not in ("xid", "origin")} == {
        "tenant_id": tenant,
        "id": record.id,
        "kind": "request",
        "actor": actor,
        "actor_kind": "member",
        "action": "GET /api/v1/users",
        "resource": "users/7",
        "outcome": "success",
        "status": 200,
        "duration_us": 1500,
        "ip": None,
        "user_agent": None,
        "request_id": "r-1",
        "sources": '["token", "subdomain"]',
        "changes": None,
    }


async def test_the_ledger_tells_errors_refusals_and_quota_apart(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant, other = await ledger.new_tenant(), await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        for status in (200, 204, 301, 404, 422, 500, 503):
            serve(recorder, tenant, status, counted=True)
        recorder.note(request_of(tenant, status=429, outcome="refused", rejected=True))
        recorder.note(
            AuditRecord(tenant_id=tenant, kind="security", action="tenant_mismatch", outcome="refused")
        )
        serve(recorder, other)
        await recorder.flush()
    assert await ledger.totals() == {
        tenant: {"requests": 8, "errors": 2, "client_errors": 3, "rejected": 1, "counted": 7},
        other: {"requests": 1, "errors": 0, "client_errors": 0, "rejected": 0, "counted": 0},
    }
    await ledger.assert_agrees_with_the_log()


async def test_a_request_counts_in_the_hour_of_its_admission(database: Database, ledger: Ledger) -> None:
    tenant = await ledger.new_tenant()
    before = new_id(int(datetime(2026, 11, 3, 23, 59, 59, 999_000, UTC).timestamp() * 1000))
    after = new_id(int(datetime(2026, 11, 4, tzinfo=UTC).timestamp() * 1000))
    await insert_records(database, [request_of(tenant, id=each, outcome="x") for each in (after, before)])
    rows = await ledger.connection.fetch(
        "select hour, requests from usage_hours where tenant_id = $1 order by hour", tenant
    )
    assert [(row["hour"], row["requests"]) for row in rows] == [
        (datetime(2026, 11, 3, 23, tzinfo=UTC), 1),
        (datetime(2026, 11, 4, tzinfo=UTC), 1),
    ]
    assert time_of(before) < rows[1]["hour"] <= time_of(after)


async def test_a_batch_that_is_sent_again_changes_nothing(database: Database, ledger: Ledger) -> None:
    tenants = [await ledger.new_tenant() for _ in range(5)]
    batch = [request_of(tenant, outcome="x", counted=True) for tenant in tenants for _ in range(20)]
    await insert_records(database, batch[:50])
    await insert_records(database, batch[40:] + batch[90:])
    await asyncio.gather(*(insert_records(database, batch[start:]) for start in (0, 25, 75)))
    assert len(await ledger.outcomes()) == 100
    assert {total["counted"] for total in (await ledger.totals()).values()} == {20}
    await ledger.assert_agrees_with_the_log()


async def test_a_commit_whose_answer_is_lost_counts_once(
    tmp_path: Path, distant_database: Database, cable: Cable, ledger: Ledger
) -> None:
    tenants = [await ledger.new_tenant() for _ in range(3)]
    async with recording(tmp_path, distant_database) as recorder:
        sent = {serve(recorder, tenant).id for tenant in tenants for _ in range(30)}
        cable.commits_to_lose = 2
        for _ in range(2):
            with pytest.raises(Exception, match="connection"):
                await recorder.flush()
            assert set(await ledger.outcomes()) == sent
            assert recorder.pending == 90
        await recorder.flush()
        assert recorder.pending == 0
    assert set(await ledger.outcomes()) == sent
    await ledger.assert_agrees_with_the_log()


async def test_while_postgres_is_away_requests_are_recorded_and_arrive_afterwards(
    tmp_path: Path, distant_database: Database, cable: Cable, ledger: Ledger
) -> None:
    """Catalogue 138, the part of the records."""
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, distant_database, interval=0.02) as recorder:
        sent = [serve(recorder, tenant).id for _ in range(10)]
        await eventually(lambda: recorder.pending == 0)
        cable.cut()
        sent += [serve(recorder, tenant).id for _ in range(2500)]
        await eventually(lambda: recorder.last_error is not None)
        sent += [serve(recorder, tenant).id for _ in range(10)]
        assert recorder.pending == 2510
        assert recorder.spool_bytes > 0
        cable.mend()
        await eventually(lambda: recorder.pending == 0)
        await eventually(lambda: recorder.last_error is None)
    assert set(await ledger.outcomes()) == set(sent)
    await ledger.assert_agrees_with_the_log()


@pytest.mark.parametrize("how", ["cut", "stall"])
async def test_a_stop_without_postgres_is_bounded_and_leaves_all_to_a_successor(
    how: str, tmp_path: Path, distant_database: Database, database: Database, cable: Cable, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with asyncio.timeout(20), recording(tmp_path, distant_database, stop_within=0.5) as recorder:
        getattr(cable, how)()
        sent = {serve(recorder, tenant).id for _ in range(10)}
        cut_off = request_of(tenant)
        recorder.admit(cut_off)
    assert len(spool_directories(tmp_path)) == 1
    async with recording(tmp_path, database) as successor:
        await eventually(lambda: successor.adopted == 11)
        assert spool_directories(tmp_path) == [successor._spool.home]
    assert await ledger.outcomes() == dict.fromkeys(sent, "success") | {cut_off.id: "unknown"}
    await ledger.assert_agrees_with_the_log()


async def test_a_clean_stop_leaves_nothing_on_the_disk(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        sent = {serve(recorder, tenant).id for _ in range(1234)}
    assert os.listdir(tmp_path) == []
    assert set(await ledger.outcomes()) == sent
    with pytest.raises(AuditUnavailable):
        recorder.admit(request_of(tenant))


async def test_a_clean_stop_leaves_cut_off_requests_to_a_successor(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        finished = serve(recorder, tenant)
        cut_off = request_of(tenant)
        recorder.admit(cut_off)
    assert await ledger.outcomes() == {finished.id: "success"}
    assert await adopt_orphans(tmp_path, database, Rejects(rejected_file(tmp_path)), LINES) == 2
    assert await ledger.outcomes() == {finished.id: "success", cut_off.id: "unknown"}
    await ledger.assert_agrees_with_the_log()


async def test_a_full_batch_leaves_before_its_interval(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        for _ in range(1000):
            serve(recorder, tenant)
        await eventually(lambda: recorder.pending == 0)
    assert len(await ledger.outcomes()) == 1000


async def test_a_full_spool_refuses_and_recovers_when_it_is_drained(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant, served = await ledger.new_tenant(), 0
    spool = Spool(tmp_path, 100_000, "tests", LINES, segment_bytes=5_000)
    recorder = Recorder(spool, database, interval=NEVER)
    await recorder.start()
    for _ in range(3):
        try:
            while True:
                serve(recorder, tenant)
                served += 1
        except AuditUnavailable:
            assert served > 100
        await recorder.flush()
        # The drained segments are let go with the next turn, when the reader has passed them.
        await recorder.flush()
    await recorder.stop()
    assert served > 300
    assert len(await ledger.outcomes()) == served
    await ledger.assert_agrees_with_the_log()


async def test_one_tenant_that_is_gone_does_not_hold_up_the_others(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenants = [await ledger.new_tenant() for _ in range(9)]
    gone = new_id()
    async with recording(tmp_path, database) as recorder:
        for tenant in (*tenants, gone):
            for _ in range(7):
                serve(recorder, tenant, origin=Origin("192.0.2.7", "curl/8.9"))
        await recorder.flush()
        assert (recorder.pending, recorder.rejected) == (0, 7)
    assert len(await ledger.outcomes()) == 63
    await ledger.assert_agrees_with_the_log()
    set_aside = lines(rejected_file(tmp_path))
    assert {entry["record"]["tenant_id"] for entry in set_aside} == {str(gone)}
    assert all("foreign key" in entry["reason"] for entry in set_aside)
    assert len(set_aside) == 7
    assert b"192.0.2.7" not in rejected_file(tmp_path).read_bytes()
    assert b"curl" not in rejected_file(tmp_path).read_bytes()


@pytest.mark.parametrize("fault", [{"status": 99_999}, {"duration_us": 2**63 + 5}])
async def test_one_row_that_postgres_refuses_does_not_hold_up_its_tenant(
    fault: dict[str, Any], tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        good = {serve(recorder, tenant).id for _ in range(20)}
        recorder.note(request_of(tenant, outcome="x", **fault))
        good |= {serve(recorder, tenant).id for _ in range(20)}
        await recorder.flush()
        assert (recorder.pending, recorder.rejected) == (0, 1)
    assert set(await ledger.outcomes()) == good
    await ledger.assert_agrees_with_the_log()


async def test_a_line_of_another_version_is_set_aside(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        recorder.note(request_of(tenant, outcome="x", kind="a later version's"))
        good = serve(recorder, tenant)
        await recorder.flush()
        assert (recorder.rejected, recorder.damaged) == (1, 1)
    assert set(await ledger.outcomes()) == {good.id}
    assert "a later version's" in lines(rejected_file(tmp_path))[0]["line"]


async def test_a_note_without_an_outcome_is_still_recorded(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        recorder.note(request_of(tenant))
        await recorder.flush()
    assert list((await ledger.outcomes()).values()) == ["unknown"]


async def test_a_missing_right_loses_nothing(tmp_path: Path, database: Database, ledger: Ledger) -> None:
    """What lies with the database's set-up and not with the rows is waited for, not set aside."""
    tenant = await ledger.new_tenant()
    async with recording(tmp_path, database) as recorder:
        serve(recorder, tenant)
        await ledger.connection.execute("revoke insert on usage_hours from mis_app")
        try:
            with pytest.raises(Exception, match="permission denied"):
                await recorder.flush()
        finally:
            await ledger.connection.execute("grant insert on usage_hours to mis_app")
        assert (recorder.pending, recorder.rejected) == (1, 0)
        await recorder.flush()
    await ledger.assert_agrees_with_the_log()


async def test_two_adopters_drain_each_orphan_once(
    tmp_path: Path, database: Database, ledger: Ledger
) -> None:
    tenants = [await ledger.new_tenant() for _ in range(2)]
    expected = {}
    for _ in range(6):
        spool = Spool(tmp_path, 2**26, "tests", LINES)
        spool.start()
        for number in range(100):
            record = request_of(tenants[number % 2])
            spool.admit(record)
            if number % 10:
                spool.finish(record.id, 200, "success", 1)
            expected[record.id] = "success" if number % 10 else "unknown"
        spool.close(drained=False)
    rejects = Rejects(rejected_file(tmp_path))
    moved = await asyncio.gather(*(adopt_orphans(tmp_path, database, rejects, LINES) for _ in range(4)))
    assert sum(moved) == 600
    assert await ledger.outcomes() == expected
    assert os.listdir(tmp_path) == []
    await ledger.assert_agrees_with_the_log()


async def test_an_adoption_that_failed_is_taken_up_again(
    tmp_path: Path, distant_database: Database, cable: Cable, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    spool = Spool(tmp_path, 2**26, "tests", LINES)
    spool.start()
    records = [request_of(tenant, outcome="x") for _ in range(2500)]
    for record in records:
        spool.note(record)
    spool.close(drained=False)
    rejects = Rejects(rejected_file(tmp_path))
    cable.commits_to_lose = 1
    with pytest.raises(Exception, match="connection"):
        await adopt_orphans(tmp_path, distant_database, rejects, LINES)
    assert len(await ledger.outcomes()) == 1000
    assert await adopt_orphans(tmp_path, distant_database, rejects, LINES) == 2500
    assert set(await ledger.outcomes()) == {record.id for record in records}
    await ledger.assert_agrees_with_the_log()


async def test_what_is_not_a_spool_is_left_alone(tmp_path: Path, database: Database) -> None:
    (tmp_path / "rejected").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / f"tests-1-{new_id().hex}").touch()
    assert await adopt_orphans(tmp_path, database, Rejects(rejected_file(tmp_path)), LINES) == 0
    assert len(os.listdir(tmp_path)) == 3


async def test_a_change_is_recorded_in_its_own_transaction(database: Database, ledger: Ledger) -> None:
    """Catalogue 128, the middleware's part."""
    tenant, actor = await ledger.new_tenant(), new_id()
    changes = {"role": {"old": "viewer", "new": "member"}, "email": {"old": "a@x.test", "new": "b@x.test"}}
    async with database.transaction(tenant) as session:
        kept = record_change(
            session,
            action="user.updated",
            actor=actor,
            actor_kind="member",
            resource="users/1",
            changes=changes,
        )
    async with database.session(tenant) as session:
        record_change(session, action="user.deleted", actor=actor, actor_kind="member")
        await session.flush()
        await session.rollback()
    (row,) = await ledger.rows()
    assert (row["id"], row["kind"], row["action"], row["outcome"]) == (
        kept,
        "change",
        "user.updated",
        "success",
    )
    assert msgspec.json.decode(row["changes"]) == {"role": {"old": "viewer", "new": "member"}, "email": {}}
    assert await ledger.totals() == {}


async def test_a_change_without_a_tenant_is_refused(database: Database) -> None:
    async with TenantSession(database.engine) as session:
        with pytest.raises(TenantUnbound):
            record_change(session, action="user.updated", actor=None, actor_kind=None)


def test_no_personal_or_secret_value_enters_a_change_at_any_depth() -> None:
    """Catalogue 134, the part of the audit."""
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    identifier = new_id()
    changes = {
        "emailNorm": {"new": "CANARY"},
        "displayName": {"new": "CANARY"},
        "owner": {"old": None, "new": {"id": identifier, "email": "CANARY", "roles": [{"name": "CANARY"}]}},
        "new_password": "CANARY",
        "attributes": {"anything": "CANARY"},
        "expiresAt": {"new": moment},
        "limits": [1, 2],
    }
    assert without_personal_values(changes) == {
        "emailNorm": {},
        "displayName": {},
        "owner": {"old": None, "new": {"id": str(identifier), "email": {}, "roles": [{"name": {}}]}},
        "new_password": {},
        "attributes": {},
        "expiresAt": {"new": "2026-11-24T00:00:00Z"},
        "limits": [1, 2],
    }
