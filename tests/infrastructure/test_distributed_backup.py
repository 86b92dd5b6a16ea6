"""Backups of a whole distributed database, which has to stand still for them; `make test-citus` runs these.

They need MIS_TEST_CITUS_URL (tests/citus.py says what it names), and skip without it. A single tenant's are
those of tests/mis_cli/test_tenant_backup.py, which run there as well.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from mis_cli.backups.dumping import snapshot
from mis_cli.backups.errors import BackupRefused
from mis_cli.exits import CANNOT_START
from tests.citus import VARIABLE, CitusAddress, distribute, half_done
from tests.database import bound
from tests.mis_cli.backups import Inhabited, Place, inhabit, look
from tests.servers import TestServers

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no Citus cluster"),
]

# What a restoration ends, and where it writes of itself.
CHANGED = frozenset(
    {
        *("public.public_signing_keys", "public.signing_keys", "public.account_tokens", "public.challenges"),
        *("public.sso_attempts", "public.revocations", "public.platform_audit_logs"),
    }
)


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A distributed deployment with two inhabited tenants, stopped, and its backup."""

    place: Place
    tenants: list[Inhabited]
    directory: Path

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table, as the manifest has them."""
        found: dict[str, int] = json.loads((self.directory / "manifest.json").read_text())["rows"]
        return {name: count for name, count in found.items() if name not in CHANGED}


@pytest.fixture(scope="module")
def citus(test_servers: TestServers) -> CitusAddress:
    assert isinstance(test_servers.postgres, CitusAddress)
    return test_servers.postgres


@pytest.fixture(scope="module")
async def backed_up(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    directory = tmp_path_factory.mktemp("backup")
    place = Place(test_servers, test_servers.database("backup"), directory)
    async with place.suite() as suite:
        tenants = [await inhabit(suite, name) for name in ("one", "two")]
    await place.mis.json("backup", directory / "whole")
    return BackedUp(place, tenants, directory / "whole")


@pytest.fixture
async def elsewhere(test_servers: TestServers, tmp_path: Path) -> AsyncIterator[Place]:
    test_servers.drop_database("elsewhere")
    yield Place(test_servers, test_servers.empty_database("elsewhere"), tmp_path)
    test_servers.drop_database("elsewhere")


async def rows(place: Place, names: dict[str, int]) -> dict[str, int]:
    async with place.hand() as hand:
        return {name: await hand.fetchval(f"select count(*) from only {name}") for name in names}  # noqa: S608


async def test_a_dump_has_the_rows_of_every_node_and_nothing_of_the_cluster(backed_up: BackedUp) -> None:
    """Catalogue 47."""
    assert backed_up.rows == await rows(backed_up.place, backed_up.rows)
    assert backed_up.rows["public.users"] == 4
    assert not [name for name in backed_up.rows if name.startswith(("public.tenants_", "mis_nodes."))]


@pytest.mark.parametrize("is_spread", [False, True], ids=["one Postgres", "distributed again"])
async def test_its_restoration_is_served_by_one_postgres_and_by_a_cluster(
    backed_up: BackedUp, elsewhere: Place, citus: CitusAddress, *, is_spread: bool
) -> None:
    """Catalogue 47."""
    if is_spread:
        await asyncio.to_thread(citus.join_nodes, elsewhere.urls.owner.rpartition("/")[2])
    (told,) = await elsewhere.mis.json("restore", backed_up.directory)
    assert told["faults"] == []
    assert await rows(elsewhere, backed_up.rows) == backed_up.rows
    if is_spread:
        await asyncio.to_thread(distribute, elsewhere.urls)
        assert await rows(elsewhere, backed_up.rows) == backed_up.rows
    async with elsewhere.suite() as suite:
        for one in backed_up.tenants:
            owner = await suite.sign_in(one.tenant.slug, one.tenant.owner.email, one.tenant.owner.password)
            assert await look(suite, one, owner.auth) == one.seen


async def test_a_distributed_database_is_not_restored_over(backed_up: BackedUp) -> None:
    before = await rows(backed_up.place, backed_up.rows)
    answer = await backed_up.place.mis("restore", backed_up.directory, "--replace")
    assert answer.exit_code == CANNOT_START
    assert "`mis distribute` there" in answer.stderr
    assert await rows(backed_up.place, backed_up.rows) == before


async def test_while_services_run_none_is_begun(backed_up: BackedUp, tmp_path: Path) -> None:
    async with backed_up.place.suite():
        answer = await backed_up.place.mis("backup", tmp_path / "whole")
    assert answer.exit_code == CANNOT_START
    assert "Stop the services" in answer.stderr
    assert os.listdir(tmp_path) == []


async def test_whoever_comes_meanwhile_reads_and_waits_to_write(backed_up: BackedUp) -> None:
    urls, own = backed_up.place.urls, backed_up.tenants[0].tenant.id
    async with snapshot(urls.owner, of_all=True), bound(urls.app, own) as app:
        assert await app.fetchval("select count(*) from users") == 2
        await app.execute("set local lock_timeout = '200ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await app.execute("update users set name = name where tenant_id = $1", own)


async def test_what_a_node_has_not_finished_is_waited_for(backed_up: BackedUp, citus: CitusAddress) -> None:
    owner = backed_up.place.urls.owner
    with half_done(citus, owner.rpartition("/")[2]), pytest.raises(BackupRefused, match="try again then"):
        async with snapshot(owner, of_all=True):
            pass
