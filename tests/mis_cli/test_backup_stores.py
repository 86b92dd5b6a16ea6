"""`mis backup` and `mis restore` with objects in a bucket, and a store that goes away in the middle."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mis_cli.backups import objects
from mis_cli.backups.making import Source, back_up
from mis_cli.backups.manifest import Hear
from mis_cli.exits import AWAY
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage, StorageUnavailable
from tests.answers import fine
from tests.database import CountingProxy
from tests.mis_cli.backups import Inhabited, Place, inhabit, look
from tests.object_store import bucket, remove_bucket, store
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS

_PAGE = 5


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with bucket() as url:
        yield url


@pytest.fixture(scope="module")
def place(url: str, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    database = test_servers.database("bucket")
    settings = {
        "MIS_STORAGE_URL": url,
        "MIS_STORAGE_ENDPOINT": os.environ["AWS_ENDPOINT_URL"],
        "MIS_STORAGE_ACCESS_KEY": "test",
        "MIS_STORAGE_SECRET_KEY": "test",
    }
    return Place(test_servers, database, tmp_path_factory.mktemp("bucket"), settings)


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A deployment with two inhabited tenants and its backup."""

    place: Place
    one: Inhabited
    other: Inhabited
    directory: Path


@pytest.fixture(scope="module")
async def backed_up(place: Place) -> BackedUp:
    async with place.suite() as suite:
        one, other = await inhabit(suite, "one"), await inhabit(suite, "other")
    await place.mis.json("backup", place.directory / "whole")
    return BackedUp(place, one, other, place.directory / "whole")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing comes by pages of a few keys, as it does by pages of a thousand."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(_PAGE))


@pytest.fixture
async def gate(place: Place) -> AsyncIterator[CountingProxy]:
    """What stands between a command and the store, and can be cut."""
    async with CountingProxy(place.store["MIS_STORAGE_ENDPOINT"]) as gate:
        yield gate


async def signed_in(suite: Suite, one: Inhabited) -> dict[str, str]:
    owner = one.tenant.owner
    return (await suite.sign_in(one.tenant.slug, owner.email, owner.password)).auth


def through(gate: CountingProxy, place: Place) -> Place:
    return replace(place, store=place.store | {"MIS_STORAGE_ENDPOINT": gate.url})


async def test_a_deployment_and_then_one_tenant_come_back_with_their_objects(
    backed_up: BackedUp, url: str, tmp_path: Path
) -> None:
    """Catalogue 47."""
    place, one, other = backed_up.place, backed_up.one, backed_up.other
    storage = Storage(url)
    assert await storage.of(one.tenant.id).empty()
    await storage.of(new_id()).put("stray/later.txt", b"of nobody")
    async with place.hand() as hand:
        await hand.execute("delete from media")
    (told,) = await place.mis.json("restore", backed_up.directory, "--replace")
    assert (told["faults"], told["left"], told["objects_removed"]) == ([], [], 1)
    async with place.suite() as suite:
        for each in (one, other):
            assert await look(suite, each, await signed_in(suite, each)) == each.seen
        await place.mis.json("backup", tmp_path / "one", "--tenant", one.tenant.slug)
        path = f"{TENANTS}/{one.tenant.id}/suspend"
        fine(await suite.client.post(path, json={"reason": "Restoring."}, headers=suite.operator))
        await Storage(url).of(one.tenant.id).empty()
        await Storage(url).of(one.tenant.id).put("media/later", b"later")
        words = ("restore", tmp_path / "one", "--tenant", one.tenant.slug, "--replace")
        (told,) = await place.mis.json(*words)
        assert (told["faults"], told["left"]) == ([], [])
        await suite.hear_of_it()
        for each in (one, other):
            assert await look(suite, each, await signed_in(suite, each)) == each.seen
        listed = [stored.key async for stored in Storage(url).of(one.tenant.id).list()]
        assert listed == [f"media/{one.media}"]


@pytest.mark.usefixtures("small_pages")
async def test_more_objects_and_tenants_than_a_listing_has_on_a_page_are_all_copied(
    url: str, tmp_path: Path
) -> None:
    storage = Storage(f"{url}/pages")
    tenants = [new_id() for _ in range(_PAGE + 2)]
    for tenant in tenants:
        await storage.of(tenant).put("media/own", tenant.bytes)
    for number in range(4 * _PAGE + 1):
        await storage.of(tenants[0]).put(f"media/{number:04}", b"%d" % number)
    assert await storage.tenants() == sorted(tenants)
    copied = await objects.copy_out(storage, await storage.tenants(), tmp_path, lambda done: None)
    assert (copied.count, copied.gone) == (len(tenants) + 4 * _PAGE + 1, [])
    other = Storage(f"{url}/pages-again")
    await other.of(tenants[0]).put("media/9999", b"of nobody")
    await objects.copy_in(other, tmp_path, lambda done: None)
    assert await objects.remove_others(other, tmp_path, tenants) == 1
    for tenant in tenants:
        before = {stored.key: stored.size async for stored in storage.of(tenant).list()}
        assert {stored.key: stored.size async for stored in other.of(tenant).list()} == before
    assert await other.of(tenants[0]).get("media/0017") == b"17"


async def test_a_store_that_is_away_before_anything_began_is_said(
    backed_up: BackedUp, gate: CountingProxy, tmp_path: Path
) -> None:
    before = await backed_up.place.rows()
    mis = through(gate, backed_up.place).mis
    gate.cut()
    answer = await mis("backup", tmp_path / "away")
    assert (answer.exit_code, os.listdir(tmp_path)) == (AWAY, [])
    assert "object storage" in answer.stderr
    answer = await mis("restore", backed_up.directory, "--replace")
    assert answer.exit_code == AWAY
    assert await backed_up.place.rows() == before


async def test_a_store_that_goes_away_while_it_is_copied_leaves_no_backup(
    backed_up: BackedUp, gate: CountingProxy, tmp_path: Path
) -> None:
    wanted = backed_up.one.media.encode()
    gate.watch = lambda data: gate.cut() if b"GET" in data and wanted in data else None
    answer = await through(gate, backed_up.place).mis("backup", tmp_path / "midway")
    assert (answer.exit_code, os.listdir(tmp_path)) == (AWAY, [])


async def test_a_store_that_goes_away_while_objects_are_put_back_leaves_the_database_as_it_was(
    backed_up: BackedUp, gate: CountingProxy
) -> None:
    async with backed_up.place.hand() as hand:
        await hand.execute("update tenants set name = name || ' later'")
    gate.watch = lambda data: gate.cut() if data.startswith((b"PUT", b"POST")) else None
    answer = await through(gate, backed_up.place).mis("restore", backed_up.directory, "--replace")
    assert answer.exit_code == AWAY, answer.stderr
    async with backed_up.place.hand() as hand:
        assert await hand.fetchval("select count(*) from tenants where name like '% later'") >= 2
        await hand.execute("update tenants set name = replace(name, ' later', '')")


async def test_what_could_not_be_tidied_up_is_told_and_done_by_the_next_run(
    backed_up: BackedUp, gate: CountingProxy, url: str
) -> None:
    await Storage(url).of(backed_up.one.tenant.id).put("media/later", b"later")
    # Tenants are listed by a delimiter, and their objects only after the database is back.
    gate.watch = lambda data: gate.cut() if b"list-type=2" in data and b"delimiter" not in data else None
    words = ("restore", backed_up.directory, "--replace")
    (told,) = await through(gate, backed_up.place).mis.json(*words, code=AWAY)
    assert told["faults"] == []
    assert "objects that no row names" in told["left"][0]
    (told,) = await backed_up.place.mis.json(*words)
    assert (told["left"], told["objects_removed"]) == ([], 1)


async def test_a_bucket_that_is_not_there_is_no_empty_one(place: Place, tmp_path: Path) -> None:
    with store() as endpoint:
        nowhere = replace(place, store=place.store | {"MIS_STORAGE_ENDPOINT": endpoint})
        nowhere.store["MIS_STORAGE_URL"] = "s3://nowhere/prefix"
        answer = await nowhere.mis("backup", tmp_path / "nowhere")
    assert (answer.exit_code, os.listdir(tmp_path)) == (AWAY, [])
    assert "NoSuchBucket" in answer.stderr


async def test_a_bucket_that_goes_with_all_its_objects_is_not_taken_for_one_whose_objects_were_deleted(
    place: Place, tmp_path: Path
) -> None:
    with bucket() as url:
        for _ in range(3):
            await Storage(url).of(new_id()).put("media/own", b"own")

        def hear(name: str, size: int | None) -> Hear:
            return lambda done: remove_bucket() if name == "objects" else None

        with pytest.raises(StorageUnavailable):
            await back_up(Source(place.urls.owner, Storage(url)), tmp_path / "gone", hear)
    assert os.listdir(tmp_path) == []
