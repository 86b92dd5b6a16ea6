"""The chain over the audit log: who may touch it, what it covers, how it is cut short."""

import asyncio
import base64
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.identifiers import floor_id, new_id
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.records.store import insert_records
from mis_tenancy.seals import SealHead, SealKeys, link_of
from mis_tenancy.settings import MasterKeys
from tenant_service.audit_seals import repository
from tenant_service.audit_seals.retention import Retention
from tenant_service.audit_seals.sealing import Sealing
from tenant_service.audit_seals.service import Bad, Problem
from tests.answers import fine, refused
from tests.database import bound
from tests.mis_tenancy.spool_fixtures import request_of
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, patch
from tests.tenant_service.seals import new_log


async def test_what_was_done_in_a_tenant_is_sealed_and_verifies(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    fine(await patch(suite, tenant, tenant.auth, maxUsers=5))
    await suite.tenancy("tenant").recorder.flush()
    log = await new_log(suite, test_servers, [1])
    path = f"{TENANTS}/{tenant.id}/audit-logs/verify"
    for headers in (tenant.auth, suite.operator):
        verdict = fine(await suite.client.get(path, headers=headers))
        assert verdict["intact"] is True
        assert verdict["firstBad"] is None
        assert verdict["rows"] > verdict["unsealed"] >= 0
    assert log.tenant_id != tenant.id


async def test_verifying_is_for_those_who_may_read_the_log(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    member = await suite.user(tenant, "member")
    path = f"{TENANTS}/{tenant.id}/audit-logs/verify"
    refused(await suite.client.get(path, headers=member.auth), 403, "permission_denied")
    refused(await suite.client.get(path, headers=other.auth), 404, "tenant_not_found")
    refused(await suite.client.get(path), 401, "authentication_required")
    for anchor in ("", "1", "1.x", f"0.{'A' * 43}", f"1.{'A' * 44}"):
        answer = await suite.client.get(path, params={"anchor": anchor}, headers=tenant.auth)
        refused(answer, 422, "validation_failed")


@pytest.mark.parametrize("table", ["audit_logs", "audit_seals"])
@pytest.mark.parametrize("change", ["update {} set tenant_id = tenant_id", "delete from {}", "truncate {}"])
async def test_the_application_can_neither_change_nor_delete_rows_nor_seals(
    suite: Suite, test_servers: TestServers, table: str, change: str
) -> None:
    """Catalogue 129."""
    log = await new_log(suite, test_servers, [1])
    for url in (test_servers.database().app, test_servers.database().auth):
        async with bound(url, log.tenant_id) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change.format(table))
    async with bound(test_servers.database().app, log.tenant_id) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("insert into audit_seals (tenant_id, seq) values ($1, 9)", log.tenant_id)


async def test_a_tenant_sees_only_its_own_seals(suite: Suite, test_servers: TestServers) -> None:
    own, other = await new_log(suite, test_servers, [1]), await new_log(suite, test_servers, [1])
    async with bound(test_servers.database().app, own.tenant_id) as connection:
        seen = await connection.fetch("select distinct tenant_id from audit_seals")
    assert [row["tenant_id"] for row in seen] == [own.tenant_id] != [other.tenant_id]


async def test_the_platform_sees_all_tenants_rows_only_while_it_is_bound_to_none(
    suite: Suite, test_servers: TestServers
) -> None:
    own, other = await new_log(suite, test_servers, [1]), await new_log(suite, test_servers, [1])
    question = "select count(distinct tenant_id) from audit_logs where tenant_id = any($1)"
    both = [own.tenant_id, other.tenant_id]
    async with bound(test_servers.database().platform, own.tenant_id) as connection:
        assert await connection.fetchval(question, both) == 1
    async with bound(test_servers.database().platform, None) as connection:
        assert await connection.fetchval(question, both) == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("update audit_logs set outcome = 'x'")


async def test_a_row_whose_transaction_commits_after_a_seal_falls_under_the_next(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers)
    async with log.database.transaction(log.tenant_id) as late:
        first = log.record(late)
        await late.flush()
        await log.write(3)
        await log.sealing.seal()
        assert (await log.verify()).unsealed == 3
    await log.seal()
    seals = await log.seals()
    assert seals[0]["first_id"] == first
    assert sum(seal["count"] for seal in seals) == 4
    assert (await log.verify()).bad is None


async def test_200_writers_of_a_tenant_do_not_wait_for_one_that_does_not_end(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 131."""
    log, other = await new_log(suite, test_servers, [1]), await new_log(suite, test_servers, [1])
    async with log.database.transaction(log.tenant_id) as slow:
        log.record(slow)
        await slow.flush()
        async with asyncio.timeout(60):
            await asyncio.gather(*(log.write(1) for _ in range(200)), other.write(1))
    await log.seal()
    await other.seal()
    verdict = await log.verify()
    assert (verdict.rows, verdict.bad) == (202, None)
    seals = await log.seals()
    assert [seal["seq"] for seal in seals] == list(range(1, len(seals) + 1))
    assert (await other.verify()).bad is None


# It returns something, because Citus would otherwise copy the rows, which row-level security refuses.
_IMPORT = """
insert into audit_logs (tenant_id, id, kind, action, outcome, resource)
select $1, (left($3::text, 14) || '7' || lpad(to_hex(number / 65536), 3, '0') || '-8000-' ||
            lpad(to_hex(number), 12, '0'))::uuid, 'change', 'thing.imported', 'success', 'things/' || number
  from generate_series(1, $2::int) as number
returning 1
"""


@pytest.mark.parametrize("rows", [3_000, pytest.param(100_000, marks=pytest.mark.deep)])
async def test_a_large_import_holds_up_nobody_while_it_writes_nor_while_it_is_sealed(
    rows: int, suite: Suite, test_servers: TestServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 131."""
    log, other = await new_log(suite, test_servers, [1]), await new_log(suite, test_servers, [1])

    async def writes_go_on() -> None:
        home = Origin("192.0.2.1", "tests/1")
        records = [request_of(one.tenant_id, outcome="x", origin=home) for one in (log, other)]
        async with asyncio.timeout(60):
            await asyncio.gather(*(log.write(1) for _ in range(20)), other.write(1))
            await insert_records(log.database, records)

    async with log.database.system_transaction(log.tenant_id) as importing:
        await importing.fetch(_IMPORT, log.tenant_id, rows, str(new_id()))
        await writes_go_on()
    sealed, go_on = asyncio.Event(), asyncio.Event()
    advance = repository.advance

    async def held_before_its_commit(system: Any, end: int) -> None:
        sealed.set()
        await go_on.wait()
        await advance(system, end)

    monkeypatch.setattr(repository, "advance", held_before_its_commit)

    async def seal() -> None:
        # Transactions of other tests may hold the first passes back.
        while not sealed.is_set():
            await log.sealing.seal()
            await asyncio.sleep(0.02)

    sealing = asyncio.create_task(seal())
    async with asyncio.timeout(120):
        await sealed.wait()
    await writes_go_on()
    go_on.set()
    await sealing
    await log.seal()
    verdict = await log.verify()
    assert (verdict.rows, verdict.unsealed, verdict.bad) == (1 + rows + 2 * 21, 0, None)


async def test_two_workers_at_once_make_one_chain(suite: Suite, test_servers: TestServers) -> None:
    log = await new_log(suite, test_servers)
    sealers = [Sealing(log.platform, log.keys) for _ in range(3)]
    for _ in range(10):
        await log.write(2)
        await asyncio.gather(*(sealer.seal() for sealer in sealers))
    await log.seal()
    seals = await log.seals()
    assert [seal["seq"] for seal in seals] == list(range(1, len(seals) + 1))
    verdict = await log.verify()
    assert (verdict.rows, verdict.bad) == (20, None)


async def test_a_pass_that_is_cut_off_anywhere_leaves_a_log_that_the_next_one_seals(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers)
    for step in range(12):
        await log.write(300)
        cut_off = asyncio.create_task(log.sealing.seal())
        for _ in range(step * 3):
            await asyncio.sleep(0)
        cut_off.cancel()
        await asyncio.gather(cut_off, return_exceptions=True)
        assert (await log.verify()).bad is None
    await log.seal()
    assert (await log.verify()).rows == 3_600


async def test_a_pass_takes_no_more_rows_than_it_may_hold(suite: Suite, test_servers: TestServers) -> None:
    log = await new_log(suite, test_servers)
    for rows in (3, 3, 9, 3, 1):
        await log.write(rows)
    await log.settle()
    small = Sealing(log.platform, log.keys, rows_at_once=4)
    while (await log.verify()).unsealed:
        await small.seal()
    # What one transaction wrote stays together.
    assert [seal["count"] for seal in await log.seals()] == [3, 3, 9, 4]
    assert (await log.verify()).bad is None


async def test_a_transaction_of_more_rows_than_a_pass_may_hold_stops_no_sealing(
    suite: Suite, test_servers: TestServers
) -> None:
    log, other = await new_log(suite, test_servers, [1]), await new_log(suite, test_servers, [1])
    for _ in range(3):
        # Transactions that write no audit row lie between the last seal and the large one.
        async with log.database.system_transaction(log.tenant_id) as silent:
            await silent.fetch("select pg_current_xact_id()")
    await log.write(9)
    await other.write(1)
    small = Sealing(log.platform, log.keys, rows_at_once=4)
    async with asyncio.timeout(30):
        while (await log.verify()).unsealed or (await other.verify()).unsealed:
            await small.seal()
    assert [seal["count"] for seal in await log.seals()] == [1, 9]
    assert (await log.verify()).bad is None


async def test_nobody_without_the_key_can_rewrite_the_chain(suite: Suite, test_servers: TestServers) -> None:
    """Catalogue 130."""
    log = await new_log(suite, test_servers, [2, 2])
    intruders = SealKeys(MasterKeys.parse(f"test:{base64.b64encode(os.urandom(32)).decode()}"))
    first, second = await log.seals()
    async with log.hand() as hand:
        await hand.execute("update audit_logs set outcome = 'nothing' where tenant_id = $1", log.tenant_id)
        await hand.execute("delete from audit_seals where tenant_id = $1", log.tenant_id)
        await hand.execute("update schedules set mark = -4611686018427387904 where name = 'audit_seals'")
    await Sealing(log.platform, intruders).seal()
    verdict = await log.verify()
    assert verdict.bad == Bad(Problem.SEAL_ALTERED, 1)
    assert (await log.verify(keys=intruders)).bad is None
    assert first["link"] != second["link"]


async def test_an_anchor_kept_elsewhere_shows_that_the_end_was_cut_off(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 130."""
    log = await new_log(suite, test_servers, [2, 2])
    known = (await log.verify()).head
    second = (await log.seals())[1]
    async with log.hand() as hand:
        await hand.execute(
            "delete from audit_logs where tenant_id = $1 and id >= $2", log.tenant_id, second["first_id"]
        )
        await hand.execute("delete from audit_seals where tenant_id = $1 and seq = 2", log.tenant_id)
    assert (await log.verify()).bad is None
    assert (await log.verify(known)).bad == Bad(Problem.SEAL_MISSING, 2)
    # New rows in its place do not make up for it.
    await log.write(2)
    await log.seal()
    assert (await log.verify(known)).bad == Bad(Problem.SEAL_ALTERED, 2)


async def test_the_endpoint_takes_the_anchor_that_it_gave(suite: Suite, test_servers: TestServers) -> None:
    tenant = await suite.tenant("custom")
    await (await new_log(suite, test_servers, [1])).seal()
    path = f"{TENANTS}/{tenant.id}/audit-logs/verify"
    anchor = fine(await suite.client.get(path, headers=tenant.auth))["anchor"]
    again = fine(await suite.client.get(path, params={"anchor": anchor}, headers=tenant.auth))
    assert again["intact"] is True
    number, _, link = anchor.partition(".")
    forged = f"{number}.{link[::-1]}"
    shown = fine(await suite.client.get(path, params={"anchor": forged}, headers=tenant.auth))
    assert shown["firstBad"] == {"problem": "seal_altered", "seal": int(number), "row": None}


async def test_retention_deletes_up_to_a_seal_which_stays_as_the_anchor(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers)
    now = datetime.now(UTC)
    for days, rows in ((100, 3), (95, 2), (80, 4), (1, 5)):
        await log.write_at(now - timedelta(days=days), rows)
        await log.seal()
    deleted = await Retention(log.platform, log.keys).prune_all(now)
    assert deleted == 5
    seals = await log.seals()
    assert [(seal["seq"], seal["pruned"]) for seal in seals] == [(2, True), (3, False), (4, False)]
    verdict = await log.verify()
    assert (verdict.rows, verdict.bad) == (9, None)
    assert (
        await Retention(log.platform, log.keys).prune(log.tenant_id, floor_id(now - timedelta(days=90))) == 0
    )
    # Ten days on, the next seal goes the same way, and the anchor moves.
    await Retention(log.platform, log.keys).prune(log.tenant_id, floor_id(now - timedelta(days=10)))
    assert [(seal["seq"], seal["pruned"]) for seal in await log.seals()] == [(3, True), (4, False)]
    assert (await log.verify()).bad is None


async def test_a_plan_that_was_left_keeps_its_rows_for_another_month(
    suite: Suite, test_servers: TestServers
) -> None:
    log, now = await new_log(suite, test_servers), datetime.now(UTC)
    await log.write_at(now - timedelta(days=200), 3)
    await log.seal()
    async with log.database.transaction(log.tenant_id) as session:
        session.add(
            PlanMigrationRow(
                id=new_id(),
                status="completed",
                from_plan="enterprise",
                to_plan="basic",
                at_period_end=False,
                downtime=False,
                on_over_limit="block",
                due_at=now,
                requested_by=new_id(),
                requested_as="member",
                effects={},
                created_at=now,
                finished_at=now,
            )
        )
    retention = Retention(log.platform, log.keys)
    for later, kept in ((0, 3), (29, 3), (31, 0)):
        await retention.prune_all(now + timedelta(days=later))
        assert (await log.verify()).rows == kept


async def test_a_row_that_was_adopted_late_is_kept_with_the_seal_it_came_in(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers)
    now = datetime.now(UTC)
    await log.write(1)
    await log.write_at(now - timedelta(days=200), 1)
    await log.seal()
    await Retention(log.platform, log.keys).prune_all(now)
    assert (await log.verify()).rows == 2


async def test_nobody_without_the_key_can_pass_a_deletion_off_as_retention(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 130."""
    log = await new_log(suite, test_servers, [2, 2, 2])
    second = (await log.seals())[1]
    async with log.hand() as hand:
        gone = "delete from audit_logs where tenant_id = $1 and id <= $2"
        await hand.execute(gone, log.tenant_id, second["last_id"])
        await hand.execute("delete from audit_seals where tenant_id = $1 and seq = 1", log.tenant_id)
        assert (await log.verify()).bad == Bad(Problem.SEAL_MISSING, 1)
        await hand.execute(
            "update audit_seals set pruned = true where tenant_id = $1 and seq = 2", log.tenant_id
        )
        assert (await log.verify()).bad == Bad(Problem.SEAL_ALTERED, 2)


async def test_a_row_below_the_anchor_is_a_row_that_was_added(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers)
    now = datetime.now(UTC)
    await log.write_at(now - timedelta(days=100), 2)
    await log.seal()
    await Retention(log.platform, log.keys).prune_all(now)
    (anchor,) = await log.seals()
    async with log.hand() as hand:
        await hand.execute(
            "insert into audit_logs (tenant_id, id, kind, action, outcome, xid) "
            "values ($1, $2, 'change', 'planted', 'success', $3)",
            log.tenant_id,
            anchor["first_id"],
            anchor["horizon"] - 1,
        )
    assert (await log.verify()).bad == Bad(Problem.ROW_ADDED, 1, anchor["first_id"])


async def test_a_seal_whose_master_key_is_not_at_hand_says_so(
    suite: Suite, test_servers: TestServers
) -> None:
    log = await new_log(suite, test_servers, [1])
    others = SealKeys(MasterKeys.parse(f"other:{base64.b64encode(os.urandom(32)).decode()}"))
    assert (await log.verify(keys=others)).bad == Bad(Problem.KEY_MISSING, 1)


def test_a_link_stands_for_every_field_of_its_seal_and_for_the_rows_order() -> None:
    rows = [os.urandom(32) for _ in range(3)]
    some = floor_id(datetime.now(UTC))
    head = SealHead(some, 1, 3, some, some, datetime.now(UTC))
    link = link_of(bytes(32), head, rows)
    assert link == link_of(bytes(32), head, rows)
    assert link not in (link_of(bytes(32), head, rows[::-1]), link_of(rows[0], head, rows))
    assert link_of(bytes(32), head, rows[:2]) != link
