"""Master keys, exchanged under everything they wrap or sign; and an audit log moved to another server."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest
from typer.testing import CliRunner

from auth_service.operator_mfa.secrets import purpose_of as purpose_of_factor
from auth_service.signing_keys.service import purpose_of
from mis_cli.embedded import DatabaseUrls
from mis_cli.main import app
from mis_cli.master_keys import STORES, rotate
from mis_cli.renumbering import renumber
from mis_http.kept_answers import KeyOfRequest, PlatformAnswers
from mis_tenancy.database import Database
from mis_tenancy.encryption import DataKey, Undecryptable, Wrapping, data_key_purpose
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.seals import SealKeys
from mis_tenancy.settings import MasterKeys
from mis_tenancy.tables import Base
from tenant_service.audit_seals.sealing import Sealing
from tenant_service.audit_seals.service import Bad, Problem, Verdict, Verification
from tests.servers import TestServers

HOME = Origin("192.0.2.1", "tests/1")
REQUEST = KeyOfRequest(new_id(), "POST", "/api/v1/tenants", "once", b"f")
# Columns in which no master key's id stands, whatever their names.
NOT_MASTER_KEYS = {"public_signing_keys", "operator_refresh_tokens", "refresh_tokens"}


def a_key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


class World:
    """A database with something under every kind of use of a master key."""

    def __init__(self, urls: DatabaseUrls, app: Database, platform: Database) -> None:
        self.urls, self.app, self.platform = urls, app, platform
        self.tenant_id, self.operator_id = new_id(), new_id()
        self.old, self.new = a_key("old"), a_key("new")
        self.data_key: DataKey | None = None
        self.origin = b""

    async def fill(self) -> None:
        wrapping = Wrapping(MasterKeys.parse(self.old))
        row = wrapping.new_data_key(self.tenant_id, 1)
        self.data_key = wrapping.open_data_key(row)
        pem, key_id = wrapping.wrap(b"pem", purpose_of("kid"))
        answer = await PlatformAnswers(wrapping).seal(None, REQUEST, b"answer")  # type: ignore[arg-type]  # needs none
        async with self.hand() as hand:
            await hand.execute(
                "truncate audit_logs, audit_seals, tenant_data_keys, signing_keys, public_signing_keys, "
                "operators, platform_idempotency_keys, schedules, tenants cascade"
            )
            await hand.execute(
                "insert into tenants "
                "(id, name, slug, subdomain, plan, status, status_since, created_at, updated_at) "
                "values ($1, 'T', 'ttt', 'ttt', 'basic', 'active', now(), now(), now())",
                self.tenant_id,
            )
            keys = "insert into tenant_data_keys values ($1, $2, $3, $4, now(), $5)"
            await hand.execute(keys, self.tenant_id, 1, row.wrapped_key, "old", None)
            await hand.execute(keys, self.tenant_id, 0, b"", "old", datetime.now(UTC))
            offer = ActorKeys(wrapping).fresh(self.tenant_id)
            self.origin = offer.key.seal(HOME, REQUEST.principal_id)
            actor_keys = "insert into audit_actor_keys values ($1, $2, $3, $4, 'old', $5)"
            kept, destroyed = (offer.key.id, offer.wrapped, None), (new_id(), b"", datetime.now(UTC))
            for actor_key, wrapped, erased in (kept, destroyed):
                await hand.execute(actor_keys, self.tenant_id, actor_key, new_id(), wrapped, erased)
            app, app_key = wrapping.wrap(b"app", purpose_of_factor(self.operator_id))
            await hand.execute(
                "insert into operators (id, email, email_norm, name, status, password_hash, created_at, "
                "totp_secret, totp_key_id) values ($1, $2, $2, 'O', 'active', 'x', now(), $3, $4)",
                *(self.operator_id, f"{self.operator_id}@platform.example", app, app_key),
            )
            await hand.execute("insert into public_signing_keys values ('kid', '{}', 'current', now())")
            await hand.execute("insert into signing_keys values ('kid', $1, $2, now())", pem, key_id)
            await hand.execute(
                "insert into platform_idempotency_keys values "
                "($1, $2, $3, $4, $5, 'answered', now(), 201, $6, now())",
                *(REQUEST.principal_id, REQUEST.method, REQUEST.path, REQUEST.key, REQUEST.fingerprint),
                answer,
            )
        for _ in range(3):
            await self.write(2)

    async def write(self, rows: int) -> None:
        """Write audit rows and seal them under the old key."""
        async with self.app.system_transaction(self.tenant_id) as system:
            for _ in range(rows):
                await system.fetch(
                    "insert into audit_logs (tenant_id, id, kind, action, outcome) "
                    "values ($1, $2, 'change', 'x', 'success')",
                    self.tenant_id,
                    new_id(),
                )
        sealing = Sealing(self.platform, SealKeys(MasterKeys.parse(self.old)))
        while (await self.verify(self.old)).unsealed:
            await sealing.seal()
            await asyncio.sleep(0.02)

    async def verify(self, keys: str) -> Verdict:
        async with self.app.transaction(self.tenant_id) as session:
            return await Verification(session, SealKeys(MasterKeys.parse(keys))).verify()

    def hand(self) -> Any:
        """Return a connection of the tables' owner, to be entered."""
        return Hand(self.urls.owner)

    async def value(self, sql: str) -> Any:
        async with self.hand() as hand:
            return await hand.fetchval(sql)


class Hand:
    """A connection that ends with its block."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._url)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


@pytest.fixture
async def world(test_servers: TestServers) -> AsyncIterator[World]:
    urls = await asyncio.to_thread(test_servers.database, "master_keys")
    databases = Database(urls.app), Database(urls.platform)
    for database in databases:
        await database.start()
    world = World(urls, *databases)
    await world.fill()
    yield world
    for database in databases:
        await database.stop()


def silent(*_: object) -> None:
    return None


def test_every_column_that_a_master_key_stands_behind_is_rotated() -> None:
    stores = {store.table for store in STORES}
    named = {
        table.name
        for table in Base.metadata.tables.values()
        if {"master_key_id", "wrapped_key", "totp_key_id"} & set(table.c.keys())
        or {"hash", "key_id"} <= set(table.c.keys())
    }
    assert named - NOT_MASTER_KEYS <= stores


async def test_the_old_key_can_go_once_everything_is_under_the_new_one(world: World) -> None:
    """Catalogue 133."""
    tallies = await rotate(world.urls.owner, MasterKeys.parse(f"{world.new},{world.old}"), silent)
    assert {table: (one.renewed, one.refused) for table, one in tallies.items()} == {
        "tenant_data_keys": (1, 0),
        "audit_actor_keys": (1, 0),
        "signing_keys": (1, 0),
        "operators": (1, 0),
        "platform_idempotency_keys": (1, 0),
        "audit_seals": (3, 0),
    }
    alone = Wrapping(MasterKeys.parse(world.new))
    async with world.hand() as hand:
        row = await hand.fetchrow("select * from tenant_data_keys where version = 1")
        secret = alone.unwrap(row["wrapped_key"], row["master_key_id"], data_key_purpose(world.tenant_id, 1))
        assert DataKey(world.tenant_id, 1, secret) == world.data_key
        row = await hand.fetchrow("select * from audit_actor_keys where erased_at is null")
        stored = row["id"], row["wrapped_key"], row["master_key_id"]
        key = ActorKeys(alone).opened(world.tenant_id, *stored)
        assert key is not None
        assert key.open(world.origin, REQUEST.principal_id) == HOME
        row = await hand.fetchrow("select * from signing_keys")
        assert alone.unwrap(row["wrapped_key"], row["master_key_id"], purpose_of("kid")) == b"pem"
        row = await hand.fetchrow("select * from operators")
        app = alone.unwrap(row["totp_secret"], row["totp_key_id"], purpose_of_factor(world.operator_id))
        assert app == b"app"
        answer = await hand.fetchval("select answer from platform_idempotency_keys")
        assert await PlatformAnswers(alone).open(None, REQUEST, answer) == b"answer"  # type: ignore[arg-type]  # as above
    assert (await world.verify(world.new)).bad is None
    with pytest.raises(Undecryptable):
        Wrapping(MasterKeys.parse(world.old)).unwrap(
            row["totp_secret"], "new", purpose_of_factor(world.operator_id)
        )
    again = await rotate(world.urls.owner, MasterKeys.parse(f"{world.new},{world.old}"), silent)
    assert {one.renewed for one in again.values()} == {0}


async def test_a_seal_that_was_tampered_with_is_not_signed_anew(world: World) -> None:
    await world.value("update audit_seals set count = count + 1 where seq = 2")
    tallies = await rotate(world.urls.owner, MasterKeys.parse(f"{world.new},{world.old}"), silent)
    assert (tallies["audit_seals"].renewed, tallies["audit_seals"].refused) == (2, 1)
    verdict = await world.verify(f"{world.new},{world.old}")
    assert verdict.bad == Bad(Problem.SEAL_ALTERED, 2)


async def test_a_rotation_that_is_cut_off_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mis_cli.master_keys._ROWS_AT_ONCE", 1)
    keys = MasterKeys.parse(f"{world.new},{world.old}")

    def cut_off(table: str, total: int, done: int) -> None:
        if table == "audit_seals" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotate(world.urls.owner, keys, cut_off)
    assert (await world.verify(f"{world.new},{world.old}")).bad is None
    tallies = await rotate(world.urls.owner, keys, silent)
    assert {table: one.renewed for table, one in tallies.items() if one.renewed} == {"audit_seals": 1}
    assert (await world.verify(world.new)).bad is None


def command(world: World, *arguments: str, keys: str) -> Any:
    environment = {"MIS_MIGRATION_DATABASE_URL": world.urls.owner, "MIS_MASTER_KEYS": keys}
    return CliRunner().invoke(app, list(arguments), env=environment)


async def test_the_command_reports_what_it_did_and_fails_when_a_key_is_missing(world: World) -> None:
    missing = await asyncio.to_thread(command, world, "keys", "rotate-master", "--json", keys=world.new)
    assert missing.exit_code == 1
    tables = msgspec.json.decode(missing.stdout)["tables"]
    assert tables["tenant_data_keys"] == {"renewed": 0, "refused": 1}
    assert tables["audit_seals"] == {"renewed": 0, "refused": 3}
    both = f"{world.new},{world.old}"
    done = await asyncio.to_thread(command, world, "keys", "rotate-master", keys=both)
    assert done.exit_code == 0, done.output
    assert "8 now under 'new'" in done.stdout
    assert world.old.partition(":")[2] not in done.output + missing.output
    assert (await world.verify(world.new)).bad is None


async def test_a_log_restored_on_a_server_of_lower_numbers_verifies_and_goes_on(world: World) -> None:
    ahead = 2**40
    async with world.hand() as hand:
        # What a logical dump of a busier server brings along.
        await hand.execute("update audit_logs set xid = xid + $1", ahead)
        await hand.execute("update audit_seals set horizon = horizon + $1", ahead)
        await hand.execute("update schedules set mark = mark + $1 where name = 'audit_seals'", ahead)
    assert (await world.verify(world.old)).bad is not None
    moved = await asyncio.to_thread(command, world, "audit", "renumber", keys=world.old)
    assert (moved.exit_code, moved.stdout) == (0, "Renumbered.\n")
    assert (await world.verify(world.old)).bad is None
    await world.write(2)
    verdict = await world.verify(world.old)
    assert (verdict.rows, verdict.unsealed, verdict.bad) == (8, 0, None)
    assert await renumber(world.urls.owner) is False
