"""Where requests came from: sealed in spools and in rows, readable until its actor is erased."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from mis_tenancy.audit import AuditRecord, Spool, record_change
from mis_tenancy.database import Database
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.actor_keys import NOBODY, ActorKeys, key_id_of
from mis_tenancy.origins.rows import erase_actor, origins_of
from mis_tenancy.origins.sealing import UNKNOWN_ORIGIN, Origin, SpoolCipher
from mis_tenancy.records.record import Lines
from mis_tenancy.records.store import insert_records
from mis_tenancy.session import TenantSession
from mis_tenancy.settings import MasterKeys
from mis_tenancy.spool.reading import SpoolReader
from mis_tenancy.tables import AuditRow
from tests.database import CountingProxy
from tests.mis_tenancy.spool_fixtures import (
    LINES,
    MASTER_KEYS,
    Ledger,
    SpoolServer,
    fresh_keys,
    opened_database,
    opened_ledger,
    request_of,
    spool_server,
)
from tests.servers import TestServers

HOME = Origin("198.51.100.7", "Navigator/9 (of Ada)")


@pytest.fixture(scope="session")
def server(test_servers: TestServers) -> SpoolServer:
    return spool_server(test_servers)


@pytest.fixture
async def database(server: SpoolServer) -> AsyncIterator[Database]:
    async with opened_database(server.app_url) as database:
        yield database


@pytest.fixture
async def ledger(server: SpoolServer) -> AsyncIterator[Ledger]:
    async with opened_ledger(server) as ledger:
        yield ledger


def asked(tenant: UUID, actor: UUID | None, **fields: object) -> AuditRecord:
    return request_of(tenant, actor=actor, origin=HOME, outcome="success", **fields)


def change(session: TenantSession, actor: UUID | None, resource: str | None = None) -> UUID:
    return record_change(
        session,
        action="thing.changed",
        actor=actor,
        actor_kind="member",
        resource=resource,
        ip=HOME.ip,
        user_agent=HOME.user_agent,
    )


async def shown(database: Database, tenant: UUID) -> dict[UUID, Origin]:
    async with database.transaction(tenant) as session:
        rows = (await session.scalars(select(AuditRow))).all()
        return await origins_of(session, rows)


async def erase(database: Database, tenant: UUID, actor: UUID) -> int:
    async with database.transaction(tenant) as session:
        return await erase_actor(session, actor)


async def keys_left(ledger: Ledger, tenant: UUID) -> int:
    found = "select count(*) from audit_actor_keys where tenant_id = $1 and wrapped_key <> ''"
    return int(await ledger.connection.fetchval(found, tenant))


async def another_process(server: SpoolServer) -> Database:
    database = Database(server.app_url, pool_size=2, actor_keys=fresh_keys())
    await database.start()
    return database


def test_a_spool_on_the_disk_tells_nobody_where_a_request_came_from(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20, "tests", LINES)
    spool.start()
    spool.admit(record := request_of(new_id(), origin=HOME))
    spool.note(request_of(new_id(), origin=HOME))
    written = b"".join(path.read_bytes() for path in spool.home.iterdir())
    assert HOME.ip is not None
    assert HOME.ip.encode() not in written
    assert b"Navigator" not in written
    spool.finish(record.id, 200, "success", 1)
    assert [one.origin for one in SpoolReader(spool.home, LINES).read(10)] == [HOME, HOME]
    spool.close(drained=True)


def test_a_spool_outlives_the_rotation_of_its_master_key_but_not_its_removal() -> None:
    old, new = (f"{name}:{base64.b64encode(os.urandom(32)).decode()}" for name in ("old", "new"))
    line = Lines(SpoolCipher(MasterKeys.parse(old))).admission(request_of(new_id(), origin=HOME))[:-1]
    for keys, expected in ((f"{new},{old}", HOME), (new, UNKNOWN_ORIGIN)):
        parsed = Lines(SpoolCipher(MasterKeys.parse(keys))).parse(line)
        assert parsed is not None
        assert parsed.admit is not None
        assert parsed.admit.origin == expected


@pytest.mark.parametrize("odd", ["", "spools:", "spools:!!!", "spools:AAAA", 7, {"ip": "x"}, ["y"]])
def test_an_origin_that_cannot_be_read_does_not_cost_the_record(odd: object) -> None:
    line = json.loads(LINES.note(request_of(new_id(), origin=HOME)))
    line["note"]["origin"] = odd
    parsed = LINES.parse(json.dumps(line).encode())
    assert parsed is not None
    assert parsed.note is not None
    assert parsed.note.origin == UNKNOWN_ORIGIN


def test_an_origin_is_not_shown_by_accident() -> None:
    assert repr(asked(new_id(), None)).count("198.51") == 0


async def test_a_request_and_a_change_come_to_rest_without_a_clear_address(
    database: Database, ledger: Ledger
) -> None:
    tenant, actor = await ledger.new_tenant(), new_id()
    await insert_records(database, [asked(tenant, actor), asked(tenant, None)])
    async with database.transaction(tenant) as session:
        change(session, actor)
    rows = await ledger.rows()
    assert [(row["ip"], row["user_agent"]) for row in rows] == [(None, None)] * 3
    assert len({bytes(row["origin"]) for row in rows}) == 3
    assert set((await shown(database, tenant)).values()) == {HOME}


async def test_an_erased_actor_is_the_only_one_whose_origins_are_gone(
    database: Database, ledger: Ledger, server: SpoolServer
) -> None:
    tenant, ada, bob = await ledger.new_tenant(), new_id(), new_id()
    records = [asked(tenant, actor) for actor in (ada, ada, bob, None)]
    await insert_records(database, records)
    before = await ledger.rows()
    assert await erase(database, tenant, ada) == 2
    after = await shown(database, tenant)
    assert [after[record.id] for record in records] == [UNKNOWN_ORIGIN, UNKNOWN_ORIGIN, HOME, HOME]
    # What is sealed is what is stored, so the chain does not notice.
    assert await ledger.rows() == before
    assert await keys_left(ledger, tenant) == 2


@pytest.mark.parametrize("has_met_him", [True, False])
async def test_what_comes_late_of_an_erased_actor_is_kept_without_its_origin(
    has_met_him: bool, database: Database, ledger: Ledger, server: SpoolServer
) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    await insert_records(database, [asked(tenant, ada)])
    await erase(database, tenant, ada)
    process = database if has_met_him else await another_process(server)
    await insert_records(process, [asked(tenant, ada)])
    async with process.transaction(tenant) as session:
        change(session, ada)
    assert set((await shown(database, tenant)).values()) == {UNKNOWN_ORIGIN}
    assert len(await ledger.rows()) == 3
    assert await keys_left(ledger, tenant) == 0
    if process is not database:
        await process.stop()


async def test_an_actor_without_a_key_can_be_erased_beforehand(database: Database, ledger: Ledger) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    assert await erase(database, tenant, ada) == 0
    assert await erase(database, tenant, ada) == 0
    await insert_records(database, [asked(tenant, ada)])
    assert set((await shown(database, tenant)).values()) == {UNKNOWN_ORIGIN}


async def test_an_erasure_in_one_tenant_leaves_the_actor_of_another_alone(
    database: Database, ledger: Ledger
) -> None:
    one, other, ada = await ledger.new_tenant(), await ledger.new_tenant(), new_id()
    await insert_records(database, [asked(one, ada), asked(other, ada)])
    await erase(database, one, ada)
    assert set((await shown(database, other)).values()) == {HOME}


async def test_a_failed_sign_in_is_erased_with_the_account_that_was_tried(
    database: Database, ledger: Ledger
) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    async with database.transaction(tenant) as session:
        tried = change(session, None, f"user:{ada}")
        strange = [change(session, None, resource) for resource in (None, "user:ada", f"users/{ada}")]
    await erase(database, tenant, ada)
    origins = await shown(database, tenant)
    assert origins[tried] == UNKNOWN_ORIGIN
    assert [origins[row] for row in strange] == [HOME] * 3
    owners = "select actor from audit_actor_keys where tenant_id = $1 and wrapped_key <> ''"
    assert [row["actor"] for row in await ledger.connection.fetch(owners, tenant)] == [NOBODY]


async def test_an_origin_moved_to_another_row_or_tenant_is_not_shown(
    database: Database, ledger: Ledger
) -> None:
    """Catalogue 132."""
    tenant, other, ada = await ledger.new_tenant(), await ledger.new_tenant(), new_id()
    first, second, third = asked(tenant, ada), asked(tenant, ada), asked(other, ada)
    await insert_records(database, [first, second, third])
    sealed = {row["id"]: row["origin"] for row in await ledger.rows()}
    flipped = bytes([*sealed[third.id][:-1], sealed[third.id][-1] ^ 1])
    for row, origin in ((first, sealed[second.id]), (second, sealed[third.id]), (third, flipped)):
        moved = "update audit_logs set origin = $1 where id = $2"
        await ledger.connection.execute(moved, origin, row.id)
    assert set((await shown(database, tenant)).values()) == {UNKNOWN_ORIGIN}
    assert set((await shown(database, other)).values()) == {UNKNOWN_ORIGIN}


async def test_rows_from_before_there_were_keys_are_shown_as_they_are(
    database: Database, ledger: Ledger
) -> None:
    tenant = await ledger.new_tenant()
    await ledger.connection.execute(
        "insert into audit_logs (tenant_id, id, kind, action, outcome, ip, user_agent) "
        "values ($1, $2, 'change', 'x', 'success', $3, $4)",
        *(tenant, new_id(), HOME.ip, HOME.user_agent),
    )
    assert list((await shown(database, tenant)).values()) == [HOME]


@pytest.mark.parametrize("is_savepoint", [True, False])
async def test_nothing_is_sealed_under_a_key_that_was_rolled_back(
    is_savepoint: bool, database: Database, ledger: Ledger
) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    async with database.session(tenant) as session:
        transaction = await (session.begin_nested() if is_savepoint else session.begin())
        change(session, ada)
        await session.flush()
        await transaction.rollback()
        kept = change(session, ada)
        await session.commit()
    assert await shown(database, tenant) == {kept: HOME}
    await insert_records(database, [late := asked(tenant, ada)])
    assert (await shown(database, tenant))[late.id] == HOME


async def test_processes_that_do_not_know_of_each_other_write_what_all_can_read(
    database: Database, ledger: Ledger, server: SpoolServer
) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    processes = [await another_process(server) for _ in range(4)]
    await asyncio.gather(
        *(insert_records(one, [asked(tenant, ada), asked(tenant, None)]) for one in processes)
    )
    async with processes[0].transaction(tenant) as long, processes[1].transaction(tenant) as short:
        change(long, bob := new_id())
        await long.flush()
        # Nobody waits for the key that another transaction is making.
        change(short, bob)
        await short.flush()
    assert len(await ledger.rows()) == 10
    assert set((await shown(database, tenant)).values()) == {HOME}
    for one in processes:
        await one.stop()


async def test_nobody_waits_for_an_erasure_and_it_waits_for_whoever_makes_a_key(
    database: Database, ledger: Ledger, server: SpoolServer
) -> None:
    tenant, ada, bob = await ledger.new_tenant(), new_id(), new_id()
    other = await another_process(server)
    async with database.transaction(tenant) as maker:
        change(maker, ada)
        await maker.flush()
        waiting = asyncio.create_task(erase(other, tenant, ada))
        held = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        async with asyncio.timeout(30):
            while not await ledger.connection.fetchval(held):  # noqa: ASYNC110  # another session waits
                await asyncio.sleep(0.01)
        assert not waiting.done()
    assert await waiting == 1
    async with database.transaction(tenant) as erasing:
        await erase_actor(erasing, bob)
        await insert_records(other, [asked(tenant, bob)])
        async with other.transaction(tenant) as session:
            change(session, bob)
    assert await keys_left(ledger, tenant) == 0
    assert set((await shown(database, tenant)).values()) == {UNKNOWN_ORIGIN}
    await other.stop()


async def test_an_actors_next_row_costs_no_round_trip_more(ledger: Ledger, server: SpoolServer) -> None:
    tenant, ada = await ledger.new_tenant(), new_id()
    turns = []
    async with CountingProxy(server.app_url) as proxy:
        database = Database(proxy.url, pool_size=1, actor_keys=fresh_keys())
        await database.start()

        async def turns_of(actor: UUID | None, *, from_somewhere: bool) -> int:
            proxy.reset()
            async with database.transaction(tenant) as session:
                if from_somewhere:
                    change(session, actor)
                else:
                    record_change(session, action="thing.changed", actor=actor, actor_kind="member")
            return proxy.turns

        for from_somewhere in (False, False, True, True, False):
            turns.append(await turns_of(ada, from_somewhere=from_somewhere))
        proxy.reset()
        await insert_records(database, [asked(tenant, ada)])
        await insert_records(database, [asked(tenant, ada)])
        first = proxy.turns
        proxy.reset()
        await insert_records(database, [asked(tenant, ada)])
        assert proxy.turns * 2 <= first
        await database.stop()
    assert turns[2] > turns[3] == turns[4]


async def test_without_keys_a_row_says_nothing_of_where_it_came_from(
    ledger: Ledger, server: SpoolServer
) -> None:
    tenant = await ledger.new_tenant()
    database = Database(server.app_url, pool_size=1)
    await database.start()
    await insert_records(database, [asked(tenant, new_id())])
    async with database.transaction(tenant) as session:
        change(session, new_id())
    assert [(row["ip"], row["origin"]) for row in await ledger.rows()] == [(None, None)] * 2
    await database.stop()


async def test_a_key_whose_master_key_is_gone_opens_nothing(
    database: Database, ledger: Ledger, server: SpoolServer
) -> None:
    tenant = await ledger.new_tenant()
    await insert_records(database, [record := asked(tenant, new_id())])
    stranger = MasterKeys.parse(f"spools:{base64.b64encode(os.urandom(32)).decode()}")
    other = Database(server.app_url, pool_size=1, actor_keys=ActorKeys(Wrapping(stranger)))
    await other.start()
    assert await shown(other, tenant) == {record.id: UNKNOWN_ORIGIN}
    await other.stop()
    assert MASTER_KEYS.current_id == "spools"
    (row,) = await ledger.rows()
    assert await ledger.connection.fetchval(
        "select count(*) from audit_actor_keys where id = $1", key_id_of(row["origin"])
    )
