"""No transaction begins on the wire without saying whose it is."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.errors import TenantUnbound
from mis_tenancy.postgres import connection as module
from mis_tenancy.postgres.connection import Binding, TenantConnection, plain_uuid, set_local
from tests.mis_tenancy.conftest import Teams

SETTING = "select current_setting('app.tenant_id', true)"


@pytest.fixture
async def wire(door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[TenantConnection]:
    """A connection as the pools hand it out: set up, and armed with nothing."""
    connection = await asyncpg.connect(door_urls.app, connection_class=TenantConnection)
    connection.arm(None)
    yield connection
    connection.terminate()


async def test_a_transaction_is_bound_to_what_its_connection_is_armed_with(
    wire: TenantConnection, teams: Teams
) -> None:
    wire.arm(teams.a.id)
    async with wire.transaction():
        assert await wire.fetchval(SETTING) == str(teams.a.id)
        assert await wire.fetchval("select count(*) from projects") == 3
    assert await wire.fetchval(SETTING) == ""


async def test_an_unarmed_connection_begins_no_transaction_and_is_given_up(wire: TenantConnection) -> None:
    with pytest.raises(TenantUnbound):
        await wire.transaction().start()
    assert wire.is_closed()


async def test_arming_is_for_one_transaction(wire: TenantConnection, teams: Teams) -> None:
    wire.arm(teams.a.id)
    async with wire.transaction():
        pass
    with pytest.raises(TenantUnbound):
        await wire.transaction().start()


async def test_a_savepoint_needs_no_arming_and_keeps_the_tenant(wire: TenantConnection, teams: Teams) -> None:
    """Catalogue 37."""
    wire.arm(teams.a.id)
    async with wire.transaction():
        wire.arm(teams.b.id)
        async with wire.transaction():
            assert await wire.fetchval(SETTING) == str(teams.a.id)


async def test_system_work_shows_no_tenants_rows_until_it_is_turned_to_one(
    wire: TenantConnection, teams: Teams
) -> None:
    wire.arm(Binding.NOBODY)
    async with wire.transaction():
        assert await wire.fetchval("select count(*) from projects") == 0
        await wire.rebind(teams.b.id)
        assert await wire.fetchval("select count(*) from projects") == 5
    assert await wire.fetchval(SETTING) == ""


async def test_system_work_is_nobodys_even_where_a_session_level_setting_leaked(
    wire: TenantConnection, teams: Teams
) -> None:
    """Catalogue 36."""
    await wire.execute(f"set app.tenant_id = '{teams.b.id}'")
    wire.arm(Binding.NOBODY)
    async with wire.transaction():
        assert await wire.fetchval("select count(*) from projects") == 0
    wire.arm(teams.a.id)
    async with wire.transaction():
        assert await wire.fetchval("select count(*) from projects") == 3


@pytest.mark.parametrize(
    "begin",
    [
        "BEGIN",
        "BEGIN;",
        " BEGIN ; ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;",
        "BEGIN READ WRITE;",
    ],
)
async def test_every_way_the_driver_begins_is_bound(wire: TenantConnection, teams: Teams, begin: str) -> None:
    wire.arm(teams.a.id)
    await wire.execute(begin)
    assert await wire.fetchval(SETTING) == str(teams.a.id)
    await wire.execute("ROLLBACK")


@pytest.mark.parametrize(
    "begin", ["START TRANSACTION", "begin", "BEGIN; SELECT 1; COMMIT", "BEGIN; -- with more"]
)
async def test_a_beginning_by_hand_is_not_bound_and_sees_nothing(
    wire: TenantConnection, teams: Teams, begin: str
) -> None:
    wire.arm(teams.a.id)
    await wire.execute(begin)
    assert await wire.fetchval("select count(*) from projects") == 0
    assert await wire.fetchval(SETTING) in ("", None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"isolation": "repeatable_read", "readonly": True},
        {"isolation": "serializable", "deferrable": True},
    ],
)
async def test_the_drivers_own_transactions_go_through_the_bound_beginning(
    wire: TenantConnection, teams: Teams, options: dict[str, Any]
) -> None:
    """Were asyncpg to send its BEGIN otherwise, this would see no rows."""
    wire.arm(teams.a.id)
    async with wire.transaction(**options):
        assert await wire.fetchval("select count(*) from projects") == 3


class Hostile(UUID):
    """An id that spells itself as SQL."""

    def __str__(self) -> str:
        return "'; set app.tenant_id = 'anything"

    def __format__(self, spec: str) -> str:
        return str(self)


async def test_an_id_cannot_spell_itself_as_sql(wire: TenantConnection, teams: Teams) -> None:
    hostile = Hostile(teams.a.id.hex)
    assert type(plain_uuid(hostile)) is UUID
    assert set_local(hostile) == f"SET LOCAL app.tenant_id = '{teams.a.id}'"
    wire.arm(hostile)
    async with wire.transaction():
        assert await wire.fetchval("select count(*) from projects") == 3
        await wire.rebind(hostile)
    assert await wire.fetchval(SETTING) == ""


async def test_the_drivers_own_ids_are_taken(wire: TenantConnection, teams: Teams) -> None:
    wire.arm(await wire.fetchval("select $1::uuid", teams.a.id))
    async with wire.transaction():
        assert await wire.fetchval("select count(*) from projects") == 3


async def test_a_half_open_transaction_dies_with_its_connection(
    wire: TenantConnection, teams: Teams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "set_local", lambda bound: "SET LOCAL no.such.setting.at = all to")
    wire.arm(teams.a.id)
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await wire.transaction().start()
    assert wire.is_closed()


async def test_set_up_needs_no_tenant_and_gives_none(door_urls: DatabaseUrls, teams: Teams) -> None:
    connection = await asyncpg.connect(door_urls.app, connection_class=TenantConnection)
    for _ in range(2):
        async with connection.transaction():
            assert await connection.fetchval("select count(*) from projects") == 0
    connection.terminate()


async def test_the_connection_knows_its_tenant_from_the_moment_it_is_armed(
    wire: TenantConnection, teams: Teams
) -> None:
    wire.arm(teams.a.id)
    assert wire.tenant == teams.a.id
    wire.arm(None)
    assert wire.tenant is None
