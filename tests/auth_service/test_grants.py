"""Nobody makes somebody who may do more than they: by no route, with no kind of token."""

from typing import Any

import httpx
import pytest

from mis_tenancy.access import ROLE_PERMISSIONS
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Role
from tests.answers import bearer, fine, refused
from tests.auth_service.programs import add_api_key, ask
from tests.auth_service.requests import AUTH, USERS
from tests.suite import PASSWORD, Suite, TenantHandle

INVITATIONS = f"{AUTH}/invitations"
OIDC = {"issuer": "https://idp.example", "clientId": "mis", "clientSecret": "not-a-real-secret"}


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("custom")


def newcomer(role: str, **fields: str) -> dict[str, str]:
    return {"email": f"{new_id()}@grants.example", "name": "Nina New", "role": role} | fields


def lacks(answer: httpx.Response, permission: str) -> None:
    assert refused(answer, 403, "permission_denied")["required"] == permission


async def narrow_key(suite: Suite, tenant: TenantHandle, *lacking: str) -> str:
    """Return a key with all of an administrator's scopes but those."""
    scopes = {str(one) for one in ROLE_PERMISSIONS[Role.ADMIN]} - set(lacking)
    return str((await add_api_key(suite, tenant, *scopes))["key"])


@pytest.mark.parametrize("password", [{}, {"password": PASSWORD}])
async def test_a_key_creates_nobody_who_may_do_what_it_may_not(
    suite: Suite, tenant: TenantHandle, password: dict[str, str]
) -> None:
    """Catalogue 98, 94."""
    key = await narrow_key(suite, tenant, "media:write")
    lacks(await ask(suite, key, method="POST", json=newcomer("member", **password)), "media:write")
    fine(await ask(suite, key, method="POST", json=newcomer("viewer", **password)), 201)


async def test_a_key_invites_nobody_who_may_do_what_it_may_not(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98, 94."""
    key = str((await add_api_key(suite, tenant, "invitations:write"))["key"])
    for role in Role:
        body = {"email": f"{new_id()}@grants.example", "role": role.value}
        refused(await ask(suite, key, INVITATIONS, "POST", json=body), 403, "permission_denied")
    key = await narrow_key(suite, tenant, "media:write")
    body = {"email": f"{new_id()}@grants.example", "role": "member"}
    lacks(await ask(suite, key, INVITATIONS, "POST", json=body), "media:write")
    fine(await ask(suite, key, INVITATIONS, "POST", json=body | {"role": "viewer"}), 201)


async def test_a_key_gives_nobody_a_role_that_may_do_what_it_may_not(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98, 94."""
    viewer = await suite.user(tenant, "viewer")
    key = await narrow_key(suite, tenant, "media:write")
    lacks(await ask(suite, key, f"{USERS}/{viewer.id}", "PATCH", json={"role": "member"}), "media:write")
    fine(await ask(suite, key, f"{USERS}/{viewer.id}", "PATCH", json={"name": "Vera"}))


async def test_a_key_moves_nobodys_mail_who_may_do_what_it_may_not(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98."""
    member, viewer = await suite.user(tenant, "member"), await suite.user(tenant, "viewer")
    key = await narrow_key(suite, tenant, "media:write")
    moved = {"email": f"{new_id()}@elsewhere.example"}
    lacks(await ask(suite, key, f"{USERS}/{member.id}", "PATCH", json=moved), "media:write")
    fine(await ask(suite, key, f"{USERS}/{viewer.id}", "PATCH", json=moved))
    # What gives nobody anything goes by rank.
    fine(await ask(suite, key, f"{USERS}/{member.id}", "PATCH", json={"status": "disabled"}))


async def test_a_key_imports_nobody_who_may_do_what_it_may_not(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98, 94."""
    key = await narrow_key(suite, tenant, "media:write")
    rows = f"email,name,role\n{new_id()}@grants.example,A,viewer\n{new_id()}@grants.example,B,member\n"
    answer = await ask(
        suite, key, f"{USERS}/import", "POST", content=rows, headers={"Content-Type": "text/csv"}
    )
    viewer, member = fine(answer)["rows"]
    assert viewer["ok"] is True
    assert (member["problem"]["code"], member["problem"]["required"]) == ("permission_denied", "media:write")


async def test_an_administrator_makes_administrators_and_no_owners(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 94."""
    admin = await suite.user(tenant, "admin")
    fine(await suite.client.post(USERS, json=newcomer("admin"), headers=admin.auth), 201)
    answer = await suite.client.post(USERS, json=newcomer("owner"), headers=admin.auth)
    assert refused(answer, 403, "permission_denied")["required"] == "owner"


async def test_a_visiting_operator_makes_no_administrator(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 76, 97."""
    body = {"tenantId": str(tenant.id), "reason": "A test of grants."}
    visit = fine(await suite.client.post(f"{AUTH}/act-as", json=body, headers=suite.operator))
    headers = bearer(visit["token"])
    lacks(await suite.client.post(USERS, json=newcomer("admin"), headers=headers), "apikeys:write")
    invited = {"email": f"{new_id()}@grants.example", "role": "admin"}
    lacks(await suite.client.post(INVITATIONS, json=invited, headers=headers), "apikeys:write")
    fine(await suite.client.post(USERS, json=newcomer("member"), headers=headers), 201)


async def test_only_an_owners_whole_scope_names_who_vouches_for_people(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98, 88."""
    path = f"/api/v1/tenants/{tenant.id}/config"
    body: dict[str, Any] = {"configKey": "sso.oidc", "configValue": OIDC, "isEncrypted": True}
    owners = {str(one) for one in ROLE_PERMISSIONS[Role.OWNER]}
    narrow = str((await add_api_key(suite, tenant, *owners - {"keys:write"}))["key"])
    for method, where, sent in (
        ("POST", path, {"json": body}),
        ("DELETE", f"{path}/sso.oidc", {}),
        ("POST", f"{path}/sso.oidc/rollback", {"json": {"version": 1}}),
    ):
        # The key may manage administrators at most, so it is the rank that it lacks.
        lacks(await ask(suite, narrow, where, method, **sent), "owner")
    whole = str((await add_api_key(suite, tenant, *owners))["key"])
    fine(await ask(suite, whole, path, "POST", json=body))
