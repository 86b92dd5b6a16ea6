"""Imports through the API: what comes back, what stays as it is, and what is left out and said so."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from mis_accounts.claims import hold_counters
from mis_jobs.jobs import MOST_ATTEMPTS
from mis_models.accounts import CountersRow, UserRow, UserTermRow
from mis_models.imports import ImportRow
from mis_models.work import OutboxRow
from mis_tenancy.storage import StorageUnavailable, TenantStorage
from mis_tenancy.turns import lock_tenant
from mis_worker.app import working
from tenant_service.imports.report import Seats
from tenant_service.imports.users import UserImport
from tests.answers import bearer, fine, refused
from tests.auth_service.programs import add_api_key
from tests.auth_service.requests import set_status
from tests.integration.rig import flush
from tests.suite import PASSWORD, Suite, TenantHandle
from tests.tenant_service.exports import files_of
from tests.tenant_service.imports import (
    Rows,
    archive_of,
    exported,
    import_job_for,
    import_jobs_of,
    import_status,
    imported,
    runs_of,
    send,
    setting_row,
    user_row,
    users_of,
)
from tests.tenant_service.requests import TENANTS, act_as, audit_rows
from tests.waiting import someone_waits

FORMATS = ("json", "ndjson", "csv")


async def put(suite: Suite, tenant: TenantHandle, key: str, value: Any, *, secret: bool = False) -> None:
    body = {"configKey": key, "configValue": value, "isEncrypted": secret}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=tenant.auth))


async def setting(suite: Suite, tenant: TenantHandle, key: str) -> dict[str, Any]:
    found: dict[str, Any] = fine(
        await suite.client.get(f"{TENANTS}/{tenant.id}/config/{key}", headers=tenant.auth)
    )
    return found


async def counted_users(suite: Suite, tenant: TenantHandle) -> tuple[int, int]:
    """Return what the tenant's counter says, and how many users there are."""
    async with suite.database.transaction(tenant.id) as session:
        counter = await session.scalar(select(CountersRow.users))
        users = await session.scalar(select(func.count()).select_from(UserRow))
    assert counter is not None
    assert users is not None
    return counter, users


def tally(report: dict[str, Any], name: str = "users") -> dict[str, int]:
    """Return what is not zero of a data type's tally."""
    numbers = ("total", "create", "update", "skip", "conflicts", "remapped")
    return {field: report["dataTypes"][name][field] for field in numbers if report["dataTypes"][name][field]}


@pytest.mark.parametrize("written_in", FORMATS)
async def test_what_was_deleted_after_an_export_comes_back_with_its_id(suite: Suite, written_in: str) -> None:
    """Catalogue 116."""
    tenant = await suite.tenant("custom")
    hostile = {"formula": "=1+1", "n": -1, "list": [None, True, "'@x"]}
    lost = await suite.user(tenant, "member", name="=HYPERLINK(1)", attributes=hostile)
    await put(suite, tenant, "app.flags", {"-on": "+1"})
    before = (await users_of(suite, tenant))[lost.email]
    archive = await exported(suite, tenant, written_in=written_in)
    fine(await suite.client.delete(f"/api/v1/users/{lost.id}", headers=tenant.auth), 204)
    fine(await suite.client.delete(f"{TENANTS}/{tenant.id}/config/app.flags", headers=tenant.auth), 204)
    done = await imported(suite, tenant, archive)
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["report"]["source"]["sameTenant"] is True
    assert tally(done["report"]) == {"total": 2, "create": 1, "skip": 1}
    assert tally(done["report"], "configurations") == {"total": 1, "create": 1}
    after = (await users_of(suite, tenant))[lost.email]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"updatedAt", "lastLoginAt"}
    assert (await setting(suite, tenant, "app.flags"))["configValue"] == {"-on": "+1"}
    assert await counted_users(suite, tenant) == (2, 2)
    again = await imported(suite, tenant, archive)
    assert tally(again["report"]) == {"total": 2, "skip": 2}
    assert tally(again["report"], "configurations") == {"total": 1, "skip": 1}


async def test_facts_are_not_imported_as_if_they_had_happened_here(suite: Suite) -> None:
    source, target = await suite.tenant("custom"), await suite.tenant("custom")
    archive = await exported(suite, source)
    before = len(await audit_rows(suite, target.id))
    done = await imported(suite, target, archive)
    for name in ("audit_logs", "usage", "invoices"):
        told = done["report"]["dataTypes"][name]
        assert told["leftOut"] == ["history"]
        assert told["skip"] == told["total"]
    assert done["report"]["dataTypes"]["audit_logs"]["total"] > 0
    actions = [row["action"] for row in await audit_rows(suite, target.id)]
    assert sorted(actions[: len(actions) - before]) == ["import.completed", "import.started"]


async def test_another_tenants_archive_brings_its_people_under_ids_of_their_own(suite: Suite) -> None:
    source, target = await suite.tenant("custom"), await suite.tenant("custom")
    person = await suite.user(source, "member")
    archive = await exported(suite, source, "users")
    done = await imported(suite, target, archive)
    assert done["report"]["source"]["sameTenant"] is False
    assert tally(done["report"]) == {"total": 2, "create": 2, "remapped": 2}
    here, there = await users_of(suite, target), await users_of(suite, source)
    assert here[person.email]["id"] != there[person.email]["id"]
    assert here[person.email]["name"] == there[person.email]["name"]
    again = await imported(suite, target, archive)
    assert tally(again["report"]) == {"total": 2, "skip": 2, "remapped": 2}


async def test_an_imported_user_has_no_password_and_is_found_by_name(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    row = user_row("zoë@x.example", name="Zoë Żak", role="member", createdAt="2999-01-01T00:00:00Z")
    fine_row = row | {"attributes": {"team": "north"}}
    await imported(suite, tenant, archive_of(tenant, users=[fine_row]))
    answer = await suite.client.get("/api/v1/users", params={"q": "zak"}, headers=tenant.auth)
    (found,) = fine(answer)
    assert (found["id"], found["role"], found["attributes"]) == (row["id"], "member", {"team": "north"})
    assert datetime.fromisoformat(found["createdAt"]) <= datetime.now(UTC)
    body = {"email": row["email"], "password": PASSWORD, "tenantSlug": tenant.slug}
    refused(await suite.post_anonymously("/api/v1/auth/login", body), 401, "invalid_credentials")
    async with suite.database.transaction(tenant.id) as session:
        hashes = select(UserRow.password_hash).where(UserRow.id == UUID(row["id"]))
        assert (await session.scalars(hashes)).all() == [None]


async def test_a_known_user_changes_in_name_and_attributes_and_in_nothing_else(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await suite.user(tenant, "member", name="Old Name")
    before = (await users_of(suite, tenant))[user.email]
    row = user_row(
        "elsewhere@x.example",
        id=str(user.id),
        name="New Näme",
        role="viewer",
        status="disabled",
        attributes={"n": 1},
    )
    done = await imported(suite, tenant, archive_of(tenant, users=[row]))
    assert tally(done["report"]) == {"total": 1, "update": 1}
    after = (await users_of(suite, tenant))[user.email]
    assert {name for name in before if before[name] != after[name]} == {"name", "attributes", "updatedAt"}
    for query, hits in (("name", 1), ("old", 0)):
        found = await suite.client.get("/api/v1/users", params={"q": query}, headers=tenant.auth)
        assert len(fine(found)) == hits
    fine(await suite.client.get("/api/v1/auth/me", headers=user.auth))


async def test_whoever_has_the_address_is_the_person_whatever_the_archive_calls_them(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await suite.user(tenant, "member")
    rows: Rows = [user_row(user.email.upper(), name="Known")]
    done = await imported(suite, tenant, archive_of(tenant, users=rows))
    assert tally(done["report"]) == {"total": 1, "update": 1, "remapped": 1}
    after = (await users_of(suite, tenant))[user.email]
    assert (after["id"], after["name"]) == (str(user.id), "Known")


async def test_rows_that_cannot_come_in_are_left_out_and_told_with_their_reason(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    taken, other = await suite.user(tenant, "member"), await suite.user(tenant, "member")
    twice = str(uuid4())
    rows: Rows = [
        user_row("good@x.example"),
        user_row(taken.email, id=str(other.id)),
        user_row("no address"),
        user_row("a@x.example", name=""),
        user_row("b@x.example", role="emperor"),
        user_row("c@x.example", attributes={"big": "x" * 20_000}),
        user_row("d@x.example", id="nonsense"),
        user_row("twice@x.example", id=twice),
        user_row("TWICE@x.example", id=twice),
        user_row(taken.email, id=str(taken.id), name="Once"),
        user_row(taken.email, id=str(taken.id), name="Twice"),
        user_row("nul@x.example", name="a\x00b"),
    ]
    done = await imported(suite, tenant, archive_of(tenant, users=rows))
    told = done["report"]["dataTypes"]["users"]
    assert [(one["row"], one["code"]) for one in told["firstConflicts"]] == [
        (2, "email_taken"),
        (3, "row_invalid"),
        (4, "row_invalid"),
        (5, "row_invalid"),
        (6, "row_invalid"),
        (7, "row_invalid"),
        (12, "row_invalid"),
    ]
    assert tally(done["report"]) == {"total": 12, "create": 2, "update": 2, "skip": 1, "conflicts": 7}
    assert set(await users_of(suite, tenant)) == {
        *(tenant.owner_email, taken.email, other.email, "good@x.example", "twice@x.example")
    }
    assert (await users_of(suite, tenant))[taken.email]["name"] == "Twice"
    assert await counted_users(suite, tenant) == (5, 5)


async def test_only_the_first_conflicts_are_listed_and_all_are_counted(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    done = await imported(suite, tenant, archive_of(tenant, users=[user_row("none") for _ in range(150)]))
    told = done["report"]["dataTypes"]["users"]
    assert (told["conflicts"], len(told["firstConflicts"])) == (150, 100)


async def test_nobody_brings_in_or_changes_somebody_above_their_own_role(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    rows: Rows = [
        user_row("owner2@x.example", role="owner"),
        user_row("admin2@x.example", role="admin"),
        user_row(tenant.owner_email, id=str(tenant.owner.id), name="Renamed", role="owner"),
    ]
    done = await imported(suite, tenant, archive_of(tenant, users=rows), admin.auth)
    conflicts = done["report"]["dataTypes"]["users"]["firstConflicts"]
    assert [(one["row"], one["code"]) for one in conflicts] == [
        (1, "permission_denied"),
        (3, "permission_denied"),
    ]
    assert tally(done["report"]) == {"total": 3, "create": 1, "conflicts": 2}
    by_owner = await imported(suite, tenant, archive_of(tenant, users=rows))
    assert tally(by_owner["report"]) == {"total": 3, "create": 1, "update": 1, "skip": 1}
    assert (await users_of(suite, tenant))["owner2@x.example"]["role"] == "owner"


async def test_a_narrow_key_imports_nothing_that_it_may_not_write(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    row = {
        "id": str(uuid4()),
        "filename": "a.txt",
        "contentType": "text/plain",
        "size": 1,
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "createdAt": datetime.now(UTC).isoformat(),
    }
    settings = archive_of(tenant, users=[], configurations=[setting_row("app.a", 1)])
    files = archive_of(tenant, media=[row], more={f"media/{row['id']}": b"a"})
    people = archive_of(tenant, users=[user_row("a@x.example", role="viewer")], configurations=[])
    needed = ("users:write", "tenant:write")
    narrow = bearer((await add_api_key(suite, tenant, *needed))["key"])
    for archive, lacking in ((settings, "config:write"), (files, "media:write")):
        for dry_run in (True, False):
            answer = await send(suite, tenant, archive, dry_run=dry_run, headers=narrow)
            assert refused(answer, 403, "permission_denied")["required"] == lacking
        wide = bearer((await add_api_key(suite, tenant, *needed, lacking))["key"])
        assert (await send(suite, tenant, archive, dry_run=True, headers=wide)).status_code == 200
    assert (await send(suite, tenant, people, dry_run=True, headers=narrow)).status_code == 200
    assert fine(await suite.client.get(f"{TENANTS}/{tenant.id}/imports", headers=tenant.auth)) == []


async def test_nobody_is_given_the_id_of_somebody_whom_the_log_knows_but_by_an_owner(suite: Suite) -> None:
    """Else an admin could act under, and erase, whoever was above them."""
    tenant = await suite.tenant("custom")
    admin, former = await suite.user(tenant, "admin"), await suite.user(tenant, "owner")
    fine(await suite.client.delete(f"/api/v1/users/{former.id}", headers=tenant.auth), 204)
    program = await add_api_key(suite, tenant, "users:write")
    body = {"email": "p@x.example", "name": "P", "role": "viewer"}
    fine(await suite.client.post("/api/v1/users", json=body, headers=bearer(program["key"])), 403)
    await flush(suite)
    operator = fine(await suite.client.get("/api/v1/auth/me", headers=suite.operator))["user"]["id"]
    fine(await suite.client.get("/api/v1/users", headers=await act_as(suite, tenant)))
    await flush(suite)
    taken = {"former": str(former.id), "program": program["id"], "operator": operator}
    free = str(uuid4())
    rows: Rows = [user_row(f"{name}@x.example", id=one) for name, one in taken.items()]
    rows.append(user_row("free@x.example", id=free))
    done = await imported(suite, tenant, archive_of(tenant, users=rows), admin.auth)
    assert tally(done["report"]) == {"total": 4, "create": 4, "remapped": 3}
    found = await users_of(suite, tenant)
    assert found["free@x.example"]["id"] == free
    assert not {found[f"{name}@x.example"]["id"] for name in taken} & set(taken.values())
    path = f"/api/v1/users/{former.id}/erase"
    refused(await suite.client.post(path, headers=admin.auth), 403, "permission_denied")
    for name in taken:
        path = f"/api/v1/users/{found[f'{name}@x.example']['id']}"
        fine(await suite.client.delete(path, headers=tenant.auth), 204)
    by_owner = await imported(suite, tenant, archive_of(tenant, users=rows))
    assert tally(by_owner["report"]) == {"total": 4, "create": 3, "skip": 1, "remapped": 2}
    assert (await users_of(suite, tenant))["former@x.example"]["id"] == str(former.id)


async def test_seats_are_kept_exactly_and_an_archive_that_does_not_fit_changes_nothing(suite: Suite) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=4)
    three = [user_row(f"{number}@x.example") for number in range(3)]
    four: Rows = [*three, user_row("four@x.example")]
    archive = archive_of(tenant, users=four, configurations=[setting_row("app.a", 1)])
    rehearsed = fine(await send(suite, tenant, archive, dry_run=True))
    assert rehearsed["seats"] == {"limit": 4, "used": 1, "requested": 4, "fits": False}
    done = await imported(suite, tenant, archive)
    assert (done["status"], done["report"]) == ("failed", None)
    error = done["error"]
    assert (error["code"], error["limit"], error["used"], error["requested"]) == ("limit_exceeded", 4, 1, 4)
    assert await counted_users(suite, tenant) == (1, 1)
    refused(
        await suite.client.get(f"{TENANTS}/{tenant.id}/config/app.a", headers=tenant.auth),
        404,
        "config_not_found",
    )
    assert await files_of(suite, tenant.id, "imports") == []
    fits = await imported(suite, tenant, archive_of(tenant, users=three))
    assert fits["report"]["seats"] == {"limit": 4, "used": 1, "requested": 3, "fits": True}
    assert await counted_users(suite, tenant) == (4, 4)


async def test_invited_people_come_in_with_the_seats_of_their_invitations(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=4)
    for number in range(2):
        body = {"email": f"{number}@x.example", "role": "member"}
        fine(await suite.client.post("/api/v1/auth/invitations", json=body, headers=tenant.auth), 201)
    archive = archive_of(tenant, users=[user_row(f"{number}@x.example") for number in range(3)])
    rehearsed = fine(await send(suite, tenant, archive, dry_run=True))
    assert rehearsed["seats"] == {"limit": 4, "used": 3, "requested": 1, "fits": True}
    done = await imported(suite, tenant, archive)
    assert done["report"]["seats"] == rehearsed["seats"]
    assert await counted_users(suite, tenant) == (4, 4)
    async with suite.database.transaction(tenant.id) as session:
        assert (await session.scalars(select(CountersRow.pending_invitations))).one() == 0


async def test_users_who_join_while_an_import_runs_take_no_seat_of_it_twice(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=4)
    started = fine(
        await send(suite, tenant, archive_of(tenant, users=[user_row(f"{n}@x.example") for n in range(3)])),
        202,
    )
    real = UserImport.settle

    async def join_meanwhile(self: UserImport) -> Seats:
        body = {"email": "quick@x.example", "name": "Quick", "role": "viewer"}
        fine(await suite.client.post("/api/v1/users", json=body, headers=tenant.auth), 201)
        return await real(self)

    monkeypatch.setattr(UserImport, "settle", join_meanwhile)
    await import_jobs_of(suite).run(import_job_for(tenant, started["importId"]))
    failed = await import_status(suite, tenant, started["importId"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "limit_exceeded")
    assert set(await users_of(suite, tenant)) == {tenant.owner_email, "quick@x.example"}
    assert await counted_users(suite, tenant) == (2, 2)


async def test_an_import_that_waits_for_the_tenant_holds_nobodys_seats_meanwhile(suite: Suite) -> None:
    """A change of plan takes both in that order; in the other one they would wait for each other."""
    tenant = await suite.tenant("custom")
    archive = archive_of(
        tenant, users=[user_row("ina@x.example")], configurations=[setting_row("app.theme", "dark")]
    )
    job = import_job_for(tenant, fine(await send(suite, tenant, archive), 202)["importId"])
    async with suite.database.transaction(tenant.id) as session:
        await lock_tenant(session)
        running = asyncio.create_task(import_jobs_of(suite).run(job))
        await someone_waits(suite, running)
        await hold_counters(session)
    await running
    assert "ina@x.example" in await users_of(suite, tenant)
    assert (await setting(suite, tenant, "app.theme"))["configValue"] == "dark"


async def test_configuration_comes_back_under_the_rules_of_today(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    await put(suite, tenant, "app.same", {"a": 1})
    await put(suite, tenant, "app.truth", {"a": 1})
    await put(suite, tenant, "app.secret", "hunter2", secret=True)
    await put(suite, tenant, "app.kept", "stays")
    rows: Rows = [
        setting_row("app.same", {"a": 1}),
        setting_row("app.truth", {"a": True}),
        setting_row("app.new", None),
        setting_row("session.timeout", 600),
        setting_row("session.absolute_timeout", 366 * 24 * 3600),
        setting_row("api.rate_limit", None),
        setting_row("features.ai_verification", True),
        setting_row("security.unheard_of", 1),
        setting_row("session.timeout2", "x" * 10),
        setting_row("no key", 1),
        setting_row("app.big", "x" * 70_000),
        setting_row("app.secret", "planted"),
        setting_row("app.hidden", None, isEncrypted=True, fingerprint="ab"),
    ]
    done = await imported(suite, tenant, archive_of(tenant, configurations=rows))
    told = done["report"]["dataTypes"]["configurations"]
    assert [(one["row"], one["code"]) for one in told["firstConflicts"]] == [
        (5, "config_may_only_tighten"),
        (6, "config_exceeds_plan"),
        (7, "config_exceeds_plan"),
        (8, "config_key_unknown"),
        (9, "config_key_unknown"),
        (10, "row_invalid"),
        (11, "row_invalid"),
        (12, "config_encrypted"),
    ]
    assert told["leftOut"] == ["secrets"]
    assert tally(done["report"], "configurations") == {
        "total": 13,
        "create": 2,
        "update": 1,
        "skip": 2,
        "conflicts": 8,
    }
    assert (await setting(suite, tenant, "app.truth"))["configValue"] == {"a": True}
    assert (await setting(suite, tenant, "app.truth"))["version"] == 2
    assert (await setting(suite, tenant, "app.kept"))["configValue"] == "stays"
    assert (await setting(suite, tenant, "session.timeout"))["configValue"] == 600
    assert (await setting(suite, tenant, "app.secret"))["isEncrypted"] is True
    history = await suite.client.get(f"{TENANTS}/{tenant.id}/config/app.new/history", headers=tenant.auth)
    assert [row["changedBy"] for row in fine(history)] == [str(tenant.owner.id)]
    known = await suite.tenancy("user").directory.by_id(tenant.id)
    assert known is not None
    await suite.tenancy("user").feed.poll()
    fresh = await suite.tenancy("user").directory.by_id(tenant.id)
    assert fresh is not None
    assert fresh.configuration["session.timeout"] == 600


async def test_an_archive_brings_back_nothing_beyond_what_an_operator_said_last(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await put(suite, tenant, "api.burst_limit", 900)
    archive = await exported(suite, tenant, "configurations")
    body = {"configKey": "api.burst_limit", "configValue": 10}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    done = await imported(suite, tenant, archive)
    told = done["report"]["dataTypes"]["configurations"]
    assert [(one["subject"], one["code"]) for one in told["firstConflicts"]] == [
        ("api.burst_limit", "config_exceeds_plan")
    ]
    assert (await setting(suite, tenant, "api.burst_limit"))["configValue"] == 10


@pytest.mark.parametrize("written_in", FORMATS)
async def test_a_rehearsal_tells_what_the_import_then_does_and_changes_nothing(
    suite: Suite, written_in: str
) -> None:
    tenant = await suite.tenant("custom")
    known = await suite.user(tenant, "member")
    users: Rows = [
        user_row("new@x.example", attributes=json.dumps({}) if written_in == "csv" else {}),
        user_row("NEW@x.example", attributes=json.dumps({}) if written_in == "csv" else {}),
        user_row(
            known.email,
            id=str(known.id),
            attributes=json.dumps({"a": 1}) if written_in == "csv" else {"a": 1},
        ),
        user_row("none", attributes=json.dumps({}) if written_in == "csv" else {}),
    ]
    settings: Rows = [
        setting_row(
            "app.a", "1" if written_in == "csv" else 1, isEncrypted="false" if written_in == "csv" else False
        )
    ]
    archive = archive_of(tenant, users=users, configurations=settings, written_in=written_in)
    people, trail = await users_of(suite, tenant), len(await audit_rows(suite, tenant.id))
    answer = await send(suite, tenant, archive, dry_run=True, multipart=True)
    rehearsed = fine(answer)
    assert rehearsed.pop("dryRun") is True
    assert await users_of(suite, tenant) == people
    assert len(await audit_rows(suite, tenant.id)) == trail
    assert await files_of(suite, tenant.id, "imports") == []
    refused(
        await suite.client.get(f"{TENANTS}/{tenant.id}/config/app.a", headers=tenant.auth),
        404,
        "config_not_found",
    )
    done = await imported(suite, tenant, archive)
    assert done["report"] == rehearsed
    assert tally(rehearsed) == {
        "total": 4,
        "create": 1,
        "update": 1,
        "skip": 1,
        "conflicts": 1,
        "remapped": 1,
    }


async def test_the_worker_carries_an_import_out_by_itself(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    answer = await send(suite, tenant, archive_of(tenant, users=[user_row("a@x.example")]), multipart=True)
    started = fine(answer, 202)
    assert answer.headers["location"] == f"{TENANTS}/{tenant.id}/imports/{started['importId']}"
    assert (started["status"], started["report"]) == ("queued", None)
    async with working(suite.settings), asyncio.timeout(30):
        while (await import_status(suite, tenant, started["importId"]))["status"] != "completed":  # noqa: ASYNC110  # the worker's
            await asyncio.sleep(0.1)
    assert "a@x.example" in await users_of(suite, tenant)
    listed = await suite.client.get(f"{TENANTS}/{tenant.id}/imports", headers=tenant.auth)
    assert [one["importId"] for one in fine(listed)] == [started["importId"]]
    # The archive is deleted once the import has committed, which the worker may just be doing.
    await runs_of(suite).run(tenant.id, UUID(started["importId"]))
    assert await files_of(suite, tenant.id, "imports") == []


async def test_whoever_subscribed_hears_of_what_an_import_changed(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    known = await suite.user(tenant, "member")
    users: Rows = [user_row("new@x.example"), user_row(known.email, id=str(known.id), name="Changed")]
    archive = archive_of(tenant, users=users, configurations=[setting_row("app.a", 1)])
    async with suite.database.transaction(tenant.id) as session:
        seen = set(await session.scalars(select(OutboxRow.id)))
    fine(await send(suite, tenant, archive, dry_run=True))
    await imported(suite, tenant, archive)
    async with suite.database.transaction(tenant.id) as session:
        rows = (await session.scalars(select(OutboxRow).order_by(OutboxRow.id))).all()
    told = {row.type: row.data for row in rows if row.id not in seen}
    assert told == {
        "user.created": {"id": users[0]["id"], "role": "viewer"},
        "user.updated": {"id": str(known.id), "role": "member", "changed": ["name"]},
        "config.changed": {"configKey": "app.a"},
    }


async def test_a_tenant_has_one_import_at_a_time(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    archive = archive_of(tenant, users=[user_row("a@x.example")])
    answers = await asyncio.gather(*(send(suite, tenant, archive) for _ in range(5)))
    (accepted,) = [answer.json()["importId"] for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer.status_code != 202:
            refused(answer, 409, "import_in_progress")
    document = refused(await send(suite, tenant, archive, dry_run=True), 409, "import_in_progress")
    assert document["importId"] == accepted
    await import_jobs_of(suite).run(import_job_for(tenant, accepted))
    fine(await send(suite, tenant, archive), 202)


async def test_a_repeated_upload_with_a_key_starts_no_second_import(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    one = archive_of(tenant, users=[user_row("a@x.example")])
    other = archive_of(tenant, users=[user_row("b@x.example"), user_row("c@x.example")])
    keyed = tenant.auth | {"Idempotency-Key": "restore"}
    first = await send(suite, tenant, one, headers=keyed)
    again = await send(suite, tenant, one, headers=keyed)
    assert fine(first, 202) == fine(again, 202)
    assert again.headers["idempotent-replayed"] == "true"
    refused(await send(suite, tenant, other, headers=keyed), 422, "idempotency_key_reused")
    told = keyed | {"Idempotency-Key": "digest", "Content-Digest": "sha-256=:AAAA:"}
    refused(await send(suite, tenant, one, headers=told), 409, "import_in_progress")
    refused(
        await send(suite, tenant, one, headers=told | {"Content-Digest": "sha-256=:BBBB:"}),
        422,
        "idempotency_key_reused",
    )


async def test_an_operator_plants_nothing_and_inside_the_tenant_works_as_its_admin(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    archive = archive_of(tenant, users=[user_row("a@x.example"), user_row("b@x.example", role="owner")])
    refused(await send(suite, tenant, archive, headers=suite.operator), 403, "act_as_required")
    done = await imported(suite, tenant, archive, await act_as(suite, tenant))
    assert tally(done["report"]) == {"total": 2, "create": 1, "conflicts": 1}
    member = await suite.user(tenant, "member")
    refused(await send(suite, tenant, archive, headers=member.auth), 403, "permission_denied")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("text/plain", 415, "unsupported_media_type"),
        ("multipart/form-data; boundary=x", 422, "validation_failed"),
    ],
)
async def test_what_is_no_archive_by_its_type_is_refused(
    suite: Suite, kind: str, status: int, code: str
) -> None:
    tenant = await suite.tenant("custom")
    path, headers = f"{TENANTS}/{tenant.id}/import", tenant.auth | {"Content-Type": kind}
    refused(await suite.client.post(path, headers=headers, content=b"--x--\r\n"), status, code)


async def test_an_archive_beyond_the_limit_is_refused_by_its_length(suite: Suite) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    headers = tenant.auth | {"Content-Type": "application/zip", "Content-Length": str(2**30 + 2**20)}
    path = f"{TENANTS}/{tenant.id}/import"
    refused(await suite.client.post(path, headers=headers, content=b"x"), 413, "body_too_large")


async def test_an_import_of_a_tenant_that_was_closed_meanwhile_fails_and_changes_nothing(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("custom")
    started = fine(await send(suite, tenant, archive_of(tenant, users=[user_row("a@x.example")])), 202)
    await set_status(suite, tenant, "suspended", "Abuse")
    await import_jobs_of(suite).run(import_job_for(tenant, started["importId"]))
    await set_status(suite, tenant, "active")
    assert (await import_status(suite, tenant, started["importId"]))["error"]["code"] == "tenant_not_active"
    assert await counted_users(suite, tenant) == (1, 1)


async def test_an_archive_that_was_changed_in_the_store_is_not_imported(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    started = fine(await send(suite, tenant, archive_of(tenant, users=[user_row("a@x.example")])), 202)
    storage = suite.apps["tenant"].state.storage.of(tenant.id)
    (key,) = await files_of(suite, tenant.id, "imports")
    await storage.put(key, archive_of(tenant, users=[user_row("planted@x.example")]))
    await import_jobs_of(suite).run(import_job_for(tenant, started["importId"]))
    assert (await import_status(suite, tenant, started["importId"]))["error"]["code"] == "archive_malformed"
    await storage.delete(key)
    assert await counted_users(suite, tenant) == (1, 1)


async def test_an_import_whose_store_is_away_is_tried_again_and_fails_for_good_in_the_end(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    started = fine(await send(suite, tenant, archive_of(tenant, users=[user_row("a@x.example")])), 202)

    async def away(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(TenantStorage, "head", away)
        for attempt in (1, MOST_ATTEMPTS):
            with pytest.raises(StorageUnavailable):
                await import_jobs_of(suite).run(import_job_for(tenant, started["importId"], attempt))
            assert (await import_status(suite, tenant, started["importId"]))["status"] == "running"
    await import_jobs_of(suite).bury(import_job_for(tenant, started["importId"], MOST_ATTEMPTS + 1))
    assert (await import_status(suite, tenant, started["importId"]))["status"] == "failed"
    assert await counted_users(suite, tenant) == (1, 1)


async def test_an_upload_that_broke_off_is_cleared_away(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113, 118."""
    tenant = await suite.tenant("custom")
    archive = archive_of(tenant, users=[user_row("a@x.example")])

    async def away(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(TenantStorage, "put", away)
        refused(await send(suite, tenant, archive), 503, "storage_unavailable")
    (failed,) = fine(await suite.client.get(f"{TENANTS}/{tenant.id}/imports", headers=tenant.auth))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "upload_failed")
    # A process that was killed in the midst of it leaves the mark, and perhaps the archive.
    async with suite.database.transaction(tenant.id) as session:
        mine = update(ImportRow).where(ImportRow.id == UUID(failed["importId"]))
        await session.execute(
            mine.values(status="receiving", created_at=datetime.now(UTC) - timedelta(hours=7))
        )
    await (
        suite.apps["tenant"]
        .state.storage.of(tenant.id)
        .put(f"imports/{failed['importId']}/archive.zip", b"x")
    )
    await import_jobs_of(suite).keep_up(import_job_for(tenant, ""))
    assert (await import_status(suite, tenant, failed["importId"]))["status"] == "failed"
    assert await files_of(suite, tenant.id, "imports") == []


async def test_another_tenant_sees_nothing_of_an_import(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    started = fine(await send(suite, tenant, archive_of(tenant, users=[user_row("a@x.example")])), 202)
    path = f"{TENANTS}/{other.id}/imports/{started['importId']}"
    refused(await suite.client.get(path, headers=other.auth), 404, "import_not_found")
    refused(await send(suite, tenant, b"", headers=other.auth), 404, "tenant_not_found")
    async with suite.database.transaction(other.id) as session:
        assert (await session.scalars(select(ImportRow.id))).all() == []
        assert (
            await session.scalars(select(UserTermRow.term).where(UserTermRow.term == "a@x.example"))
        ).all() == []
