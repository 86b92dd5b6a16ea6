"""One tenant out of a deployment and back beside the others, whatever became of it meanwhile."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from mis_cli.backups.manifest import file_of
from mis_cli.backups.tenant_rows import LEFT_OUT, backed_up_tables, emptied_tables
from mis_cli.exits import CANNOT_START, REFUSED
from tests.answers import fine
from tests.database import tenant_tables
from tests.mis_cli.backups import Inhabited, Place, inhabit, look, seed_under_way
from tests.purging import purge
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS


@pytest.fixture(scope="module")
def place(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(test_servers, test_servers.database("tenants_backup"), tmp_path_factory.mktemp("tenants"))


@pytest.fixture(scope="module")
async def own_suite(place: Place) -> AsyncIterator[Suite]:
    async with place.suite() as suite:
        yield suite


async def backed_up(place: Place, suite: Suite, directory: Path, name: str) -> Inhabited:
    """Make a tenant and its backup."""
    one = await inhabit(suite, name)
    await place.mis.json("backup", directory, "--tenant", one.tenant.slug)
    return one


async def suspend(suite: Suite, one: Inhabited) -> None:
    fine(
        await suite.client.post(
            f"{TENANTS}/{one.tenant.id}/suspend", json={"reason": "Restoring."}, headers=suite.operator
        )
    )


async def seen_again(suite: Suite, one: Inhabited) -> dict[str, Any]:
    """Sign in and look, once every service has heard that the tenant is back."""
    await suite.hear_of_it()
    body = {
        "email": one.tenant.owner.email,
        "password": one.tenant.owner.password,
        "tenantSlug": one.tenant.slug,
    }
    answer = await suite.post_anonymously("/api/v1/auth/login", body)
    return await look(suite, one, {"Authorization": f"Bearer {fine(answer)['token']}"})


def test_every_table_of_tenants_is_backed_up_or_left_out_on_purpose() -> None:
    named = {table.name for table in tenant_tables()} - {
        *("revocations", "platform_audit_logs", "deletion_certificates")
    }
    assert set(backed_up_tables()) == named - LEFT_OUT | {"tenants"}
    assert named > LEFT_OUT
    assert set(emptied_tables()) == named | {"deletion_certificates"}


async def test_a_tenant_that_went_wrong_is_restored_beside_one_that_goes_on(
    place: Place, own_suite: Suite, tmp_path: Path
) -> None:
    """Catalogue 47."""
    one = await backed_up(place, own_suite, tmp_path / "one", "one")
    other = await inhabit(own_suite, "other")
    deleted = await own_suite.client.delete(f"/api/v1/media/{one.media}", headers=one.tenant.auth)
    assert deleted.is_success
    await own_suite.user(one.tenant, "member", name="Added Later")
    await suspend(own_suite, one)
    (told,) = await place.mis.json("restore", tmp_path / "one", "--tenant", one.tenant.slug, "--replace")
    assert (told["status"], told["faults"]) == ("active", [])
    assert await seen_again(own_suite, one) == one.seen
    old = await own_suite.client.get("/api/v1/users", headers=one.tenant.auth)
    assert (old.status_code, old.json()["code"]) == (401, "token_revoked")
    assert await look(own_suite, other, other.tenant.auth) == other.seen
    logged = await own_suite.client.get(
        f"{TENANTS}/{one.tenant.id}/audit-logs/verify", headers=own_suite.operator
    )
    assert fine(logged)["intact"] is True
    verdict = await own_suite.client.post(
        f"{TENANTS}/{one.tenant.id}/isolation/verify", headers=own_suite.operator
    )
    assert fine(verdict)["status"] == "isolated"


async def test_a_tenant_that_was_purged_by_accident_comes_back_under_its_id(
    place: Place, own_suite: Suite, tmp_path: Path
) -> None:
    """Catalogue 47, 119."""
    one = await backed_up(place, own_suite, tmp_path / "purged", "purged")
    await purge(own_suite, one.tenant.id)
    assert not (place.objects / str(one.tenant.id)).exists()
    await place.mis.json("restore", tmp_path / "purged", "--tenant", str(one.tenant.id))
    assert await seen_again(own_suite, one) == one.seen


async def test_every_kind_of_row_comes_back_exactly(test_servers: TestServers, tmp_path: Path) -> None:
    # Made-up rows are nothing that a running suite could live with.
    place = Place(test_servers, test_servers.database("every_row"), tmp_path)
    seeded = await seed_under_way(place)
    async with place.hand() as hand:
        for table, status in (("exports", "expired"), ("imports", "failed"), ("verifications", "rejected")):
            # What is under way does not come back as that.
            await hand.execute(f"update {table} set status = '{status}'")  # noqa: S608  # named above

    async def content() -> dict[str, list[str]]:
        async with place.hand() as hand:
            return {
                table: sorted(
                    row[0]
                    for row in await hand.fetch(
                        f"select t::text from {table} t where tenant_id = $1",  # noqa: S608  # our tables
                        seeded.id,
                    )
                )
                for table in backed_up_tables()[1:]
            }

    before = await content()
    assert all(before.values())
    async with place.hand() as hand:
        await hand.execute("update tenants set status = 'suspended' where id = $1", seeded.id)
    await place.mis.json("backup", tmp_path / "all", "--tenant", str(seeded.id))
    async with place.hand() as hand:
        await hand.execute("delete from passkeys where tenant_id = $1", seeded.id)
    # Keys that were made up open nothing, which is told.
    words = ("restore", tmp_path / "all", "--tenant", seeded.id, "--replace")
    (told,) = await place.mis.json(*words, code=REFUSED)
    assert all(fault.startswith("keys ") for fault in told["faults"])
    assert await content() == before


async def test_what_is_open_or_there_is_not_written_over(
    place: Place, own_suite: Suite, tmp_path: Path
) -> None:
    one = await backed_up(place, own_suite, tmp_path / "open", "open")
    for options, said in (((), "--replace"), (("--replace",), "mis tenants suspend")):
        answer = await place.mis("restore", tmp_path / "open", "--tenant", one.tenant.slug, *options)
        assert answer.exit_code == CANNOT_START
        assert said in answer.stderr
    wrong = await place.mis("restore", tmp_path / "open", "--tenant", "another", "--replace")
    assert wrong.exit_code == CANNOT_START
    whole = await place.mis("restore", tmp_path / "open", "--replace")
    assert whole.exit_code == CANNOT_START
    assert "backup of one tenant" in whole.stderr
    assert await look(own_suite, one, one.tenant.auth) == one.seen


async def test_a_name_that_is_anothers_by_now_changes_nothing(
    place: Place, own_suite: Suite, tmp_path: Path
) -> None:
    one = await backed_up(place, own_suite, tmp_path / "named", "named")
    async with place.hand() as hand:
        await hand.execute("update tenants set status = 'suspended' where id = $1", one.tenant.id)
        await hand.execute("delete from tenant_names where tenant_id = $1", one.tenant.id)
        insert = "insert into tenant_names (name, tenant_id) values ($1, gen_random_uuid())"
        await hand.execute(insert, one.tenant.slug)
    answer = await place.mis("restore", tmp_path / "named", "--tenant", one.tenant.slug, "--replace")
    assert answer.exit_code == REFUSED
    assert "Nothing has changed" in answer.stderr
    async with place.hand() as hand:
        people = "select count(*) from users where tenant_id = $1"
        assert await hand.fetchval(people, one.tenant.id) == 2


async def test_a_backup_that_was_tampered_with_reaches_no_other_tenant(
    place: Place, own_suite: Suite, tmp_path: Path
) -> None:
    directory = tmp_path / "tampered"
    one = await backed_up(place, own_suite, directory, "tampered")
    victim = await inhabit(own_suite, "victim")
    lines = (directory / "users.ndjson").read_text().replace(str(one.tenant.id), str(victim.tenant.id))
    (directory / "users.ndjson").write_text(lines)
    answer = await place.mis("restore", directory, "--tenant", one.tenant.slug, "--replace")
    assert answer.exit_code == CANNOT_START
    # Even by somebody who makes the hashes fit.
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"]["users"] = msgspec.to_builtins(file_of(directory / "users.ndjson"))
    (directory / "manifest.json").write_text(json.dumps(manifest))
    await suspend(own_suite, one)
    await place.mis.json("restore", directory, "--tenant", one.tenant.slug, "--replace")
    assert await look(own_suite, victim, victim.tenant.auth) == victim.seen
    async with place.hand() as hand:
        people = "select count(*) from users where tenant_id = $1"
        assert await hand.fetchval(people, one.tenant.id) == 2
    shutil.move(directory / "objects" / str(one.tenant.id), directory / "objects" / str(victim.tenant.id))
    foreign = (directory / "objects.ndjson").read_text().replace(str(one.tenant.id), str(victim.tenant.id))
    (directory / "objects.ndjson").write_text(foreign)
    manifest["objects"]["index"] = msgspec.to_builtins(file_of(directory / "objects.ndjson"))
    (directory / "manifest.json").write_text(json.dumps(manifest))
    answer = await place.mis("restore", directory, "--tenant", one.tenant.slug, "--replace")
    assert answer.exit_code == CANNOT_START
    assert "another tenant" in answer.stderr


async def test_nobody_is_backed_up_who_is_not_there(place: Place, tmp_path: Path) -> None:
    for named in ("nobody", str(UUID(int=7))):
        answer = await place.mis("backup", tmp_path / "none", "--tenant", named)
        assert answer.exit_code == CANNOT_START
    assert os.listdir(tmp_path) == []
