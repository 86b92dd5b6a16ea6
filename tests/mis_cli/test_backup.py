"""`mis backup` and `mis restore` of a whole deployment: dumped, wrecked, put back, looked at as a member."""

import asyncio
import base64
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from mis_cli.backups import objects
from mis_cli.backups.errors import BackupRefused
from mis_cli.backups.manifest import file_of
from mis_cli.backups.programs import Programs
from mis_cli.exits import CANNOT_START, REFUSED
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage
from tests.answers import fine
from tests.mis_cli.backups import Inhabited, Place, inhabit, look
from tests.servers import TestServers
from tests.suite import MASTER_KEYS
from tests.tenant_service.requests import TENANTS


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A deployment with two inhabited tenants, stopped, and its backup."""

    place: Place
    first: Inhabited
    second: Inhabited
    directory: Path
    rows: dict[str, int]


@pytest.fixture(scope="module")
async def backed_up(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    directory = tmp_path_factory.mktemp("backup")
    place = Place(test_servers, test_servers.database("backup"), directory)
    async with place.suite() as suite:
        first, second = await inhabit(suite, "one"), await inhabit(suite, "two")
    rows = await place.rows()
    target = directory / "backups" / "whole"
    await place.mis.json("backup", target)
    return BackedUp(place, first, second, target, rows)


@pytest.fixture
async def elsewhere(test_servers: TestServers, tmp_path: Path) -> AsyncIterator[Place]:
    yield Place(test_servers, test_servers.empty_database("elsewhere"), tmp_path)
    test_servers.drop_database("elsewhere")


@pytest.fixture
def copy(backed_up: BackedUp, tmp_path: Path) -> Path:
    """A copy of the backup, to be damaged."""
    shutil.copytree(backed_up.directory, tmp_path / "copy")
    return tmp_path / "copy"


def files(directory: Path) -> list[Path]:
    return [found for found in directory.rglob("*") if found.is_file()]


def manifest_of(directory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / "manifest.json").read_text())
    return found


async def test_a_backup_holds_every_row_and_object_and_no_key_that_opens_it(backed_up: BackedUp) -> None:
    """Catalogue 47."""
    manifest = manifest_of(backed_up.directory)
    rows = {name.removeprefix("public."): count for name, count in manifest["rows"].items()}  # type: ignore[attr-defined]
    assert rows == backed_up.rows
    assert rows["users"] == 4
    copied = backed_up.directory / "objects"
    assert {file.relative_to(copied) for file in files(copied)} == {
        file.relative_to(backed_up.place.objects) for file in files(backed_up.place.objects)
    }
    assert manifest["masterKeys"] == ["test"]
    key = MASTER_KEYS.partition(":")[2].encode()
    for file in files(backed_up.directory):
        assert key not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    assert backed_up.directory.stat().st_mode & 0o077 == 0


async def test_what_was_wrecked_is_there_again_and_nobody_is_signed_in(backed_up: BackedUp) -> None:
    """Catalogue 47."""
    place, one = backed_up.place, backed_up.first
    async with place.hand() as hand:
        await hand.execute("drop policy tenant_isolation on users")
        await hand.execute("alter table users add column wrecked text")
        await hand.execute("delete from media")
        await hand.execute("create table stray (id int)")
    shutil.rmtree(place.objects / str(one.tenant.id))
    stray = new_id()
    await Storage(place.env["MIS_STORAGE_URL"]).of(stray).put("stray/later.txt", b"of nobody")
    (told,) = await place.mis.json("restore", backed_up.directory, "--replace")
    assert told["faults"] == []
    assert told["objects_removed"] == 1
    async with place.suite() as suite:
        old = await suite.client.get("/api/v1/users", headers=one.tenant.auth)
        assert old.status_code == 401
        body = {"refreshToken": one.tenant.owner.refresh_token}
        assert (await suite.post_anonymously("/api/v1/auth/refresh", body)).status_code == 401
        for each in (one, backed_up.second):
            owner = await suite.sign_in(each.tenant.slug, each.tenant.owner.email, each.tenant.owner.password)
            assert await look(suite, each, owner.auth) == each.seen
            path = f"{TENANTS}/{each.tenant.id}"
            verdict = await suite.client.post(f"{path}/isolation/verify", headers=owner.auth)
            assert fine(verdict)["status"] == "isolated"
            log = await suite.client.get(f"{path}/audit-logs/verify", headers=owner.auth)
            assert fine(log)["intact"] is True
            others = await suite.client.get(f"/api/v1/users/{one.member.id}", headers=owner.auth)
            assert others.status_code == (200 if each is one else 404)


async def test_a_backup_is_restored_into_an_empty_database_elsewhere(
    backed_up: BackedUp, elsewhere: Place
) -> None:
    """Catalogue 47."""
    (told,) = await elsewhere.mis.json("restore", backed_up.directory)
    assert told["faults"] == []
    rows = await elsewhere.rows()
    ended = {"public_signing_keys", "signing_keys", "account_tokens", "challenges", "sso_attempts"}
    kept = backed_up.rows.keys() - ended - {"revocations", "platform_audit_logs"}
    assert {name: rows[name] for name in kept} == {name: backed_up.rows[name] for name in kept}
    assert [rows[name] for name in sorted(ended)] == [0] * len(ended)
    async with elsewhere.hand() as hand:
        assert await hand.fetchval("select count(*) from sessions where revoked_at is null") == 0
        noted = "select actor from platform_audit_logs where action = 'backup.restored'"
        assert await hand.fetchval(noted)
        unforced = "select count(*) from pg_class where relrowsecurity and not relforcerowsecurity"
        assert await hand.fetchval(unforced) == 0


async def test_keys_of_programs_end_only_where_that_is_asked_for(
    backed_up: BackedUp, elsewhere: Place
) -> None:
    insert = (
        "insert into api_keys (tenant_id, id, name, prefix, key_hash, scopes, created_by, created_at) "
        "values ($1, $2, 'robot', 'mis_x', $3, '[]', $4, now())"
    )
    await elsewhere.mis.json("restore", backed_up.directory)
    tenant = backed_up.first.tenant
    async with elsewhere.hand() as hand:
        await hand.execute(insert, tenant.id, new_id(), b"x", tenant.owner.id)
    with_key = elsewhere.directory / "with-key"
    await elsewhere.mis.json("backup", with_key)
    alive = "select count(*) from api_keys where revoked_at is null"
    for options, left in (((), 1), (("--end-api-keys",), 0)):
        await elsewhere.mis.json("restore", with_key, "--replace", *options)
        async with elsewhere.hand() as hand:
            assert await hand.fetchval(alive) == left


async def test_what_is_not_empty_is_not_restored_over(backed_up: BackedUp) -> None:
    before = await backed_up.place.rows()
    answer = await backed_up.place.mis("restore", backed_up.directory)
    assert answer.exit_code == CANNOT_START
    assert "--replace" in answer.stderr
    assert await backed_up.place.rows() == before


async def test_nothing_is_restored_beneath_running_services(backed_up: BackedUp) -> None:
    async with backed_up.place.suite():
        answer = await backed_up.place.mis("restore", backed_up.directory, "--replace")
    assert answer.exit_code == CANNOT_START
    assert "Stop the services" in answer.stderr


@pytest.mark.parametrize("damage", ["dump", "object", "missing", "index", "manifest", "escape"])
async def test_a_damaged_backup_is_refused_before_anything_changes(
    copy: Path, elsewhere: Place, damage: str
) -> None:
    stored = files(copy / "objects")[0]
    if damage == "dump":
        content = bytearray((copy / "database.dump").read_bytes())
        content[len(content) // 2] ^= 1
        (copy / "database.dump").write_bytes(content)
    elif damage == "object":
        stored.write_bytes(stored.read_bytes()[::-1])
    elif damage == "missing":
        stored.unlink()
    elif damage == "index":
        lines = (copy / "objects.ndjson").read_bytes().splitlines(keepends=True)
        (copy / "objects.ndjson").write_bytes(b"".join(lines[:-1]))
    elif damage == "manifest":
        (copy / "manifest.json").unlink()
    else:
        # As somebody would who can write where backups are kept, hashes and all.
        line = msgspec.json.encode(objects.Copied(new_id(), "../../escape", 0, "0" * 64)) + b"\n"
        (copy / "objects.ndjson").write_bytes(line)
        manifest = manifest_of(copy)
        told = msgspec.to_builtins(file_of(copy / "objects.ndjson"))
        manifest["objects"] = {"index": told, "count": 1, "bytes": 0, "gone": []}
        (copy / "manifest.json").write_text(json.dumps(manifest))
    answer = await elsewhere.mis("restore", copy)
    assert answer.exit_code in (CANNOT_START, REFUSED)
    assert answer.exit_code == CANNOT_START or damage == "escape"
    assert await elsewhere.rows() == {}
    assert not elsewhere.objects.exists()


async def test_a_restoration_that_fails_leaves_the_database_as_it_was(
    backed_up: BackedUp, copy: Path
) -> None:
    manifest = manifest_of(copy)
    manifest["rows"]["public.users"] += 1  # type: ignore[index]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    async with backed_up.place.hand() as hand:
        await hand.execute("update tenants set name = name || ' later'")
    before = await backed_up.place.rows()
    answer = await backed_up.place.mis("restore", copy, "--replace")
    assert answer.exit_code == REFUSED
    assert "users: not the 5 rows" in answer.stderr
    assert await backed_up.place.rows() == before
    async with backed_up.place.hand() as hand:
        assert await hand.fetchval("select count(*) from tenants where name like '% later'") == 2
        await hand.execute("update tenants set name = replace(name, ' later', '')")


async def test_without_its_master_key_a_backup_is_not_put_back(backed_up: BackedUp, elsewhere: Place) -> None:
    elsewhere_without = elsewhere.mis
    elsewhere_without.env["MIS_MASTER_KEYS"] = MASTER_KEYS.replace("test:", "another:")
    answer = await elsewhere_without("restore", backed_up.directory)
    assert answer.exit_code == CANNOT_START
    assert "MIS_MASTER_KEYS lacks test" in answer.stderr
    assert await elsewhere.rows() == {}


async def test_a_master_key_of_the_right_name_and_another_value_is_told(
    backed_up: BackedUp, elsewhere: Place
) -> None:
    wrong = elsewhere.mis
    wrong.env["MIS_MASTER_KEYS"] = f"test:{base64.b64encode(bytes(32)).decode()}"
    answer = await wrong("restore", backed_up.directory, "--json")
    assert answer.exit_code == REFUSED
    assert "keys tenant_data_keys" in json.loads(answer.stdout)["faults"][0]


async def test_a_key_that_opens_nothing_any_more_is_not_asked_for(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    retired = "insert into tenant_data_keys values ($1, 99, '', 'destroyed', now(), now())"
    async with backed_up.place.hand() as hand:
        await hand.execute(retired, backed_up.first.tenant.id)
        await hand.execute("update operators set totp_secret = 'x', totp_key_id = 'staff'")
        (told,) = await backed_up.place.mis.json("backup", tmp_path / "retired")
        await hand.execute("delete from tenant_data_keys where version = 99")
        await hand.execute("update operators set totp_secret = null, totp_key_id = null")
    assert told["masterKeys"] == ["staff", "test"]


async def test_rows_that_the_owner_cannot_see_are_not_left_out_in_silence(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    """Catalogue 47."""
    async with backed_up.place.hand() as hand:
        await hand.execute("alter policy owner on media using (false)")
        answer = await backed_up.place.mis("backup", tmp_path / "hidden")
        await hand.execute("alter policy owner on media using (true)")
    assert answer.exit_code == CANNOT_START
    assert "media" in answer.stderr
    assert os.listdir(tmp_path) == []


async def test_as_another_role_than_the_owner_nothing_is_dumped(backed_up: BackedUp, tmp_path: Path) -> None:
    """Catalogue 47."""
    mis = backed_up.place.mis
    mis.env["MIS_MIGRATION_DATABASE_URL"] = backed_up.place.urls.platform
    answer = await mis("backup", tmp_path / "weak")
    assert answer.exit_code != 0
    assert os.listdir(tmp_path) == []


async def test_a_killed_backup_is_none_and_the_next_one_takes_its_place(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    """Catalogue 118."""
    target = tmp_path / "killed"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mis_cli", "backup", str(target)),
        env=os.environ | backed_up.place.env,
        stderr=asyncio.subprocess.DEVNULL,
    )
    draft = target.with_name("killed.partial")
    async with asyncio.timeout(60):
        while not (draft / "database.dump").exists():  # noqa: ASYNC110  # another process's doing
            await asyncio.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert not target.exists()
    answer = await backed_up.place.mis("restore", draft, "--replace")
    assert answer.exit_code == CANNOT_START
    await backed_up.place.mis.json("backup", target)
    assert os.listdir(tmp_path) == ["killed"]
    again = await backed_up.place.mis("backup", target)
    assert again.exit_code == CANNOT_START


async def test_where_backups_gather_the_newest_of_each_kind_stay(backed_up: BackedUp, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to("2026-01-01")
    shutil.copytree(backed_up.directory, tmp_path / "half.partial")
    (tmp_path / "half.partial" / "manifest.json").unlink()
    words = ("backup", tmp_path, "--keep", 2)
    await backed_up.place.mis.json(*words, "--tenant", backed_up.first.tenant.slug)
    # Backups of other days.
    for day in (3, 1, 2):
        shutil.copytree(backed_up.directory, tmp_path / f"2026-01-0{day}")
        manifest = manifest_of(tmp_path / f"2026-01-0{day}") | {"createdAt": f"2026-01-0{day}T02:00:00+00:00"}
        (tmp_path / f"2026-01-0{day}" / "manifest.json").write_text(json.dumps(manifest))
    before = {*os.listdir(tmp_path)}
    (told,) = await backed_up.place.mis.json(*words)
    assert told["removed"] == ["2026-01-01", "2026-01-02"]
    new = Path(told["directory"])
    assert new.parent == tmp_path
    assert {*os.listdir(tmp_path)} == before - {"2026-01-01", "2026-01-02"} | {new.name}
    assert manifest_of(new)["rows"]


def test_a_server_newer_than_the_programs_at_hand_is_refused_with_the_fix() -> None:
    with pytest.raises(BackupRefused, match=r"The server is Postgres 99, .*postgresql-client-99"):
        Programs.for_server(99)
    assert Programs.for_server(18).major >= 18


async def test_an_object_deleted_while_others_are_copied_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, tenant = Storage((tmp_path / "store").as_uri()), new_id()
    await storage.of(tenant).put("media/here", b"here")
    keys = objects._keys

    async def and_one_that_goes(*given: object) -> AsyncIterator[tuple[UUID, str]]:
        async for found in keys(*given):  # type: ignore[arg-type]
            yield found
        yield tenant, "media/gone"

    monkeypatch.setattr(objects, "_keys", and_one_that_goes)
    (tmp_path / "copy").mkdir()
    copied = await objects.copy_out(storage, [tenant], tmp_path / "copy", lambda done: None)
    assert (copied.count, copied.bytes, copied.gone) == (1, 4, [f"{tenant}/media/gone"])


async def test_an_extensions_own_things_are_neither_backed_up_nor_in_the_way(
    test_servers: TestServers, elsewhere: Place, backed_up: BackedUp
) -> None:
    name = elsewhere.urls.owner.partition("?")[0].rpartition("/")[2]
    made = "create extension vector; comment on extension vector is 'theirs'"
    await asyncio.to_thread(lambda: test_servers.postgres.query(made, database=name))
    await elsewhere.mis.json("restore", backed_up.directory)
    beside = elsewhere.directory / "beside"
    await elsewhere.mis.json("backup", beside)
    await elsewhere.mis.json("restore", beside, "--replace")
    async with elsewhere.hand() as hand:
        assert await hand.fetchval("select count(*) from pg_extension where extname = 'vector'") == 1
