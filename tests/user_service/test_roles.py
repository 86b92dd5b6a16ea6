"""Who may do what to whom, and what a change of standing ends."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product

import httpx
import pytest
from sqlalchemy import select

from mis_models.accounts import SessionRow, UserRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Role
from tests.suite import PASSWORD, Suite, TenantHandle, UserHandle
from tests.user_service.requests import USERS, code, counted, create

ROLES = [role.value for role in Role]
RANK = {role.value: role.rank for role in Role}
MAY_WRITE = {"owner", "admin"}


async def caller(suite: Suite, tenant: TenantHandle, role: str) -> UserHandle:
    return await suite.user(tenant, role)


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_writes_up_to_its_own_rank_and_no_further(suite: Suite, role: str) -> None:
    tenant = await suite.tenant("custom")
    by = await caller(suite, tenant, role)
    for target in ROLES:
        allowed = role in MAY_WRITE and RANK[target] <= RANK[role]
        body = {"email": f"new-{target}@example.com", "name": "Ada", "role": target}
        made = await suite.client.post(USERS, json=body, headers=by.auth)
        assert made.status_code == (201 if allowed else 403)
        victim = await create(suite, tenant, f"victim-{target}@example.com", role=target)
        path = f"{USERS}/{victim['id']}"
        for answer in (
            await suite.client.patch(path, json={"name": "Changed"}, headers=by.auth),
            await suite.client.patch(path, json={"status": "disabled"}, headers=by.auth),
            await suite.client.delete(path, headers=by.auth),
        ):
            assert answer.is_success is allowed, (role, target, answer.text)
            assert allowed or code(answer) == (403, "permission_denied")


@pytest.mark.parametrize(("role", "granted"), list(product(["owner", "admin"], ROLES)))
async def test_nobody_grants_a_role_above_their_own(suite: Suite, role: str, granted: str) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant("custom")
    by = await caller(suite, tenant, role)
    user = await create(suite, tenant, "ada@example.com")
    answer = await suite.client.patch(f"{USERS}/{user['id']}", json={"role": granted}, headers=by.auth)
    assert answer.is_success is (RANK[granted] <= RANK[role])
    own = await suite.client.patch(f"{USERS}/{by.id}", json={"role": "owner"}, headers=by.auth)
    assert own.is_success is (role == "owner")


async def test_a_changed_role_ends_tokens_at_once(suite: Suite) -> None:
    """Catalogue 67."""
    tenant = await suite.tenant("custom")
    admin = await caller(suite, tenant, "admin")
    demoted = await suite.client.patch(f"{USERS}/{admin.id}", json={"role": "viewer"}, headers=tenant.auth)
    assert demoted.status_code == 200
    assert code(await suite.client.get(USERS, headers=admin.auth)) == (401, "token_revoked")


@pytest.mark.parametrize("leave", ["disable", "delete"])
async def test_who_leaves_is_out_at_once(suite: Suite, leave: str) -> None:
    """Catalogue 67."""
    tenant = await suite.tenant("custom")
    member, path = await caller(suite, tenant, "member"), ""
    path = f"{USERS}/{member.id}"
    assert (await suite.client.get(USERS, headers=member.auth)).status_code == 200
    if leave == "disable":
        await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth)
    else:
        await suite.client.delete(path, headers=tenant.auth)
    assert code(await suite.client.get(USERS, headers=member.auth)) == (401, "token_revoked")


async def test_disabling_revokes_the_users_sessions(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user, now = await create(suite, tenant, "ada@example.com"), datetime.now(UTC)
    async with suite.database.transaction(tenant.id) as session:
        session.add(
            SessionRow(
                id=new_id(),
                user_id=user["id"],
                restricted=False,
                created_at=now,
                last_seen_at=now,
                expires_at=now + timedelta(days=1),
            )
        )
    await suite.client.patch(f"{USERS}/{user['id']}", json={"status": "disabled"}, headers=tenant.auth)
    async with suite.database.transaction(tenant.id) as session:
        (row,) = await session.scalars(select(SessionRow).where(SessionRow.user_id == user["id"]))
    assert row.revoked_at is not None
    assert row.revoked_reason == "user_disabled"


LEAVE: list[dict[str, str] | None] = [{"role": "admin"}, {"status": "disabled"}, None]


@pytest.mark.parametrize(
    "ways", [*([way] for way in LEAVE), LEAVE], ids=["demote", "disable", "delete", "mixed"]
)
async def test_of_owners_who_leave_all_at_once_one_stays(
    suite: Suite, ways: list[dict[str, str] | None]
) -> None:
    tenant = await suite.tenant("custom")
    owners = [tenant.owner, *[await caller(suite, tenant, "owner") for _ in range(6)]]

    async def leave(owner: UserHandle, change: dict[str, str] | None) -> httpx.Response:
        path = f"{USERS}/{owner.id}"
        if change is None:
            return await suite.client.delete(path, headers=owner.auth)
        return await suite.client.patch(path, json=change, headers=owner.auth)

    leaving = (leave(owner, ways[number % len(ways)]) for number, owner in enumerate(owners))
    refused = [answer for answer in await asyncio.gather(*leaving) if not answer.is_success]
    assert Counter(code(answer) for answer in refused) == {(409, "last_owner"): 1}
    async with suite.database.transaction(tenant.id) as session:
        left = await session.scalars(
            select(UserRow.id).where(UserRow.role == "owner", UserRow.status == "active")
        )
        assert len(left.all()) == 1
    users, there = await counted(suite, tenant)
    assert users == there


async def test_owners_who_remove_one_another_leave_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    other = await caller(suite, tenant, "owner")
    answers = await asyncio.gather(
        suite.client.delete(f"{USERS}/{other.id}", headers=tenant.auth),
        suite.client.delete(f"{USERS}/{tenant.owner.id}", headers=other.auth),
    )
    assert sorted(answer.status_code for answer in answers)[0] == 204
    assert await counted(suite, tenant) == (1, 1)


@pytest.mark.parametrize("change", [{"role": "admin"}, {"role": "viewer"}, {"status": "disabled"}, None])
async def test_the_last_owner_stays_even_beside_disabled_ones(
    suite: Suite, change: dict[str, str] | None
) -> None:
    tenant = await suite.tenant("custom")
    other = await create(suite, tenant, "second@example.com", role="owner")
    await suite.client.patch(f"{USERS}/{other['id']}", json={"status": "disabled"}, headers=tenant.auth)
    path = f"{USERS}/{tenant.owner.id}"
    if change is None:
        answer = await suite.client.delete(path, headers=tenant.auth)
    else:
        answer = await suite.client.patch(path, json=change, headers=tenant.auth)
    assert code(answer) == (409, "last_owner")
    assert (await suite.client.get(path, headers=tenant.auth)).json()["role"] == "owner"
    assert (await suite.client.delete(f"{USERS}/{other['id']}", headers=tenant.auth)).status_code == 204


async def test_a_disabled_user_can_be_let_in_again(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "ada@example.com", password=PASSWORD)
    for status in ("disabled", "active"):
        path = f"{USERS}/{user['id']}"
        answer = await suite.client.patch(path, json={"status": status}, headers=tenant.auth)
        assert answer.json()["status"] == status


async def test_an_operator_inside_a_tenant_leaves_no_way_back_in(suite: Suite) -> None:
    """Catalogue 76."""
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "ada@example.com")
    assert code(await suite.client.get(USERS, headers=suite.operator)) == (403, "act_as_required")
    body = {"tenantId": str(tenant.id), "reason": "Ticket 4711"}
    granted = await suite.client.post("/api/v1/auth/act-as", json=body, headers=suite.operator)
    acting = {"Authorization": f"Bearer {granted.json()['token']}"}
    path = f"{USERS}/{user['id']}"
    assert (await suite.client.get(path, headers=acting)).json() == user
    assert code(await suite.client.get(f"{USERS}/me", headers=acting)) == (404, "user_not_found")
    renamed = await suite.client.patch(path, json={"name": "Ada King"}, headers=acting)
    assert renamed.status_code == 200
    keyed = {"email": "back@example.com", "name": "Back", "password": PASSWORD}
    for refused in (
        await suite.client.patch(path, json={"role": "viewer"}, headers=acting),
        await suite.client.post(USERS, json=keyed, headers=acting),
    ):
        assert code(refused) == (403, "permission_denied")
