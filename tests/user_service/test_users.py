import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from mis_accounts.passwords import Passwords
from mis_models.accounts import CountersRow, UserRow
from mis_models.links import InvitationRow
from tests.suite import PASSWORD, Suite
from tests.user_service.requests import USERS, changes_audited, code, counted, create


async def test_a_user_is_created_read_changed_and_deleted(suite: Suite) -> None:
    tenant = await suite.tenant()
    attributes = {
        "team": "Engines",
        "desk": {"floor": 2, "seat": None},
        "tags": ["ä", "\U0001f680"],
        "share": 0.5,
    }
    body = {"email": "Ada@Example.com", "name": " Ada Lovelace ", "role": "admin", "attributes": attributes}
    made = await suite.client.post(USERS, json=body, headers=tenant.auth)
    assert made.status_code == 201
    user = made.json()
    assert made.headers["location"] == f"{USERS}/{user['id']}"
    assert UUID(user["id"]).version == 7
    assert user | {"id": "", "createdAt": "", "updatedAt": ""} == {
        "id": "",
        "email": "Ada@example.com",
        "name": "Ada Lovelace",
        "role": "admin",
        "status": "active",
        "attributes": attributes,
        "createdAt": "",
        "updatedAt": "",
        "lastLoginAt": None,
    }
    path = made.headers["location"]
    assert (await suite.client.get(path, headers=tenant.auth)).json() == user
    change = {"name": "Ada King", "role": "member", "attributes": {}}
    changed = await suite.client.patch(path, json=change, headers=tenant.auth)
    assert changed.status_code == 200
    assert changed.json() == user | change | {"updatedAt": changed.json()["updatedAt"]}
    assert (await suite.client.delete(path, headers=tenant.auth)).status_code == 204
    assert code(await suite.client.get(path, headers=tenant.auth)) == (404, "user_not_found")
    assert await counted(suite, tenant) == (1, 1)


async def test_an_address_is_unique_in_its_tenant_and_free_in_every_other(suite: Suite) -> None:
    """Catalogue 39."""
    ours, theirs = await suite.tenant(), await suite.tenant()
    one, other = await create(suite, ours, "ada@example.com"), await create(suite, theirs, "ada@example.com")
    assert one["id"] != other["id"]
    again = await suite.client.post(
        USERS, json={"email": "ADA@EXAMPLE.COM", "name": "Eve"}, headers=ours.auth
    )
    assert code(again) == (409, "email_taken")
    assert theirs.slug not in again.text
    assert await counted(suite, ours) == (2, 2)


async def test_of_two_hundred_parallel_creates_exactly_those_with_a_seat_succeed(suite: Suite) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=2)

    async def one(number: int) -> tuple[int, Any]:
        body = {"email": f"user{number}@example.com", "name": "Ada"}
        answer = await suite.client.post(USERS, json=body, headers=tenant.auth)
        return answer.status_code, answer.json()

    answers = await asyncio.gather(*(one(number) for number in range(200)))
    assert Counter(status for status, _ in answers) == {201: 1, 409: 199}
    refused = next(document for status, document in answers if status == 409)
    assert {name: refused[name] for name in ("code", "limit", "used", "requested", "resource")} == {
        "code": "limit_exceeded",
        "limit": 2,
        "used": 2,
        "requested": 1,
        "resource": "users",
    }
    assert await counted(suite, tenant) == (2, 2)


async def test_parallel_creates_and_invitations_share_the_seats_exactly(suite: Suite) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=40)

    async def one(number: int) -> int:
        email = f"user{number}@example.com"
        path, body = (USERS, {"email": email, "name": "Ada"})
        if number % 3 == 0:
            path, body = "/api/v1/auth/invitations", {"email": email, "role": "member"}
        answer = await suite.client.post(path, json=body, headers=tenant.auth)
        return answer.status_code

    statuses = Counter(await asyncio.gather(*(one(number) for number in range(100))))
    assert statuses == {201: 39, 409: 61}
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        invited = (await session.scalars(select(func.count(InvitationRow.id)))).one()
    assert counters.users + counters.pending_invitations == 40
    assert (counters.users, counters.pending_invitations) == ((await counted(suite, tenant))[1], invited)


async def test_of_parallel_creates_of_one_address_exactly_one_succeeds(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=100)
    body = {"email": "ada@example.com", "name": "Ada"}
    posts = (suite.client.post(USERS, json=body, headers=tenant.auth) for _ in range(50))
    answers = await asyncio.gather(*posts)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert await counted(suite, tenant) == (2, 2)


async def test_a_deleted_user_gives_the_seat_back(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=2)
    user = await create(suite, tenant, "ada@example.com")
    full = await suite.client.post(USERS, json={"email": "b@example.com", "name": "B"}, headers=tenant.auth)
    assert code(full) == (409, "limit_exceeded")
    await suite.client.delete(f"{USERS}/{user['id']}", headers=tenant.auth)
    await create(suite, tenant, "b@example.com")


async def test_parallel_deletes_of_one_user_give_one_seat_back(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "ada@example.com")
    deletes = (suite.client.delete(f"{USERS}/{user['id']}", headers=tenant.auth) for _ in range(20))
    answers = await asyncio.gather(*deletes)
    assert Counter(answer.status_code for answer in answers) == {204: 1, 404: 19}
    assert await counted(suite, tenant) == (1, 1)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_a_foreign_id_is_answered_as_one_that_never_was(suite: Suite, method: str) -> None:
    """Catalogue 93."""
    ours, theirs = await suite.tenant(), await suite.tenant()
    foreign = await create(suite, theirs, "ada@example.com")
    bodies = []
    for user_id in (foreign["id"], str(uuid4()), "not-an-id", "0", "%00", "..%2fme"):
        json = {"name": "Eve", "status": "disabled"} if method == "PATCH" else None
        answer = await suite.client.request(method, f"{USERS}/{user_id}", json=json, headers=ours.auth)
        assert answer.status_code == 404
        bodies.append(answer.json() | {"instance": "", "requestId": ""})
    assert all(body == bodies[0] for body in bodies[:4])
    assert bodies[0]["code"] == "user_not_found"
    unchanged = await suite.client.get(f"{USERS}/{foreign['id']}", headers=theirs.auth)
    assert unchanged.json() == foreign


async def test_members_see_and_change_their_own_profile_and_no_more(suite: Suite) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant()
    viewer = await suite.user(tenant, "viewer")
    mine = await suite.client.get(f"{USERS}/me", headers=viewer.auth)
    assert mine.json()["id"] == str(viewer.id)
    change = {"name": "Vera Viewer", "attributes": {"pronouns": "she/her"}}
    changed = await suite.client.patch(f"{USERS}/me", json=change, headers=viewer.auth)
    assert changed.status_code == 200
    assert changed.json()["name"] == "Vera Viewer"
    for field, value in {
        "role": "owner",
        "status": "active",
        "password": "x",
    }.items():
        refused = await suite.client.patch(f"{USERS}/me", json={field: value}, headers=viewer.auth)
        assert code(refused) == (422, "validation_failed")
        assert refused.json()["errors"][0]["field"] == field
    other = await suite.client.patch(f"{USERS}/{tenant.owner.id}", json={"name": "X"}, headers=viewer.auth)
    assert code(other) == (403, "permission_denied")
    assert other.json()["required"] == "users:write"


async def test_an_entity_tag_guards_changes_and_deletes(suite: Suite) -> None:
    tenant = await suite.tenant()
    path = f"{USERS}/{(await create(suite, tenant, 'ada@example.com'))['id']}"
    first = (await suite.client.get(path, headers=tenant.auth)).headers["etag"]
    changed = await suite.client.patch(path, json={"name": "A"}, headers=tenant.auth | {"If-Match": first})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first
    stale = tenant.auth | {"If-Match": first}
    assert code(await suite.client.patch(path, json={"name": "B"}, headers=stale)) == (
        412,
        "precondition_failed",
    )
    assert code(await suite.client.delete(path, headers=stale)) == (412, "precondition_failed")
    good = tenant.auth | {"If-Match": changed.headers["etag"]}
    assert (await suite.client.delete(path, headers=good)).status_code == 204


async def test_of_parallel_changes_on_one_entity_tag_exactly_one_wins(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{USERS}/{(await create(suite, tenant, 'ada@example.com'))['id']}"
    held = tenant.auth | {"If-Match": '"1"'}
    patches = (suite.client.patch(path, json={"name": f"N{n}"}, headers=held) for n in range(20))
    answers = await asyncio.gather(*patches)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}


async def test_each_change_leaves_one_audit_row_without_personal_values(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant()
    user = await create(suite, tenant, "ada@secret-domain.example", name="Adalbertine Secretname")
    path = f"{USERS}/{user['id']}"
    await suite.client.patch(
        path, json={"name": "Adalbertine Othername", "role": "viewer"}, headers=tenant.auth
    )
    await suite.client.patch(path, json={"role": "viewer"}, headers=tenant.auth)
    await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth)
    await suite.client.delete(path, headers=tenant.auth)
    rows = [row for row in await changes_audited(suite, tenant) if row.resource == f"user:{user['id']}"]
    assert [row.action for row in rows] == ["user.created", "user.updated", "user.disabled", "user.deleted"]
    assert all(row.actor == tenant.owner.id and row.request_id for row in rows)
    assert rows[1].changes == {"name": {}, "role": {"old": "member", "new": "viewer"}}
    assert "dalbertine" not in str([row.changes for row in rows])
    assert "secret-domain" not in str([row.changes for row in rows])


async def test_a_refused_change_leaves_neither_audit_row_nor_effect(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant()
    before = len(await changes_audited(suite, tenant))
    path = f"{USERS}/{tenant.owner.id}"
    assert code(await suite.client.delete(path, headers=tenant.auth)) == (409, "last_owner")
    assert code(await suite.client.patch(path, json={"role": "admin"}, headers=tenant.auth)) == (
        409,
        "last_owner",
    )
    assert len(await changes_audited(suite, tenant)) == before
    assert await counted(suite, tenant) == (1, 1)


async def test_a_password_must_meet_the_policy_of_the_tenants_plan(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    body = {"email": "ada@example.com", "name": "Ada", "password": "short"}
    refused = await suite.client.post(USERS, json=body, headers=tenant.auth)
    assert code(refused) == (422, "password_policy")
    unmet = {problem["code"] for problem in refused.json()["errors"]}
    assert unmet == {"min_length", "require_uppercase", "require_numbers", "require_special_chars"}
    huge = await suite.client.post(USERS, json=body | {"password": "Aa1-" * 300}, headers=tenant.auth)
    assert code(huge) == (422, "password_policy")
    await create(suite, tenant, "ada@example.com", password=f"{PASSWORD} ")
    async with suite.database.transaction(tenant.id) as session:
        stored = await session.scalar(
            select(UserRow.password_hash).where(UserRow.email_norm == "ada@example.com")
        )
    passwords: Passwords = suite.apps["user"].state.passwords
    assert await passwords.verify(stored, f"{PASSWORD} ")
    assert not await passwords.verify(stored, PASSWORD)


async def test_a_create_sent_again_with_its_key_makes_one_user(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    headers = tenant.auth | {"Idempotency-Key": str(uuid4())}
    body = {"email": "ada@example.com", "name": "Ada"}
    first = await suite.client.post(USERS, json=body, headers=headers)
    again = await suite.client.post(USERS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    other = await suite.client.post(USERS, json=body | {"name": "Eve"}, headers=headers)
    assert code(other) == (422, "idempotency_key_reused")
    assert await counted(suite, tenant) == (2, 2)


async def test_a_change_that_also_asks_for_another_address_is_one_audit_row(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant()
    user = await create(suite, tenant, "old@x.example")
    body = {"email": "new@x.example", "name": "Ada King", "role": "admin"}
    answer = await suite.client.patch(f"{USERS}/{user['id']}", json=body, headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    created, changed = [
        row for row in await changes_audited(suite, tenant) if row.resource == f"user:{user['id']}"
    ]
    assert (created.action, changed.action) == ("user.created", "user.updated")
    assert changed.changes == {
        "name": {},
        "role": {"old": "member", "new": "admin"},
        "requestedEmail": {},
    }
