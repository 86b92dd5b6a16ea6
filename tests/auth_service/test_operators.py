"""Operators: their sign-in, the first of them, and their visits to tenants."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from auth_service.operators.bootstrap import prepare_first_operator
from mis_models.platform import OperatorSessionRow
from mis_tenancy.access import ACT_AS_PERMISSIONS
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import SettingsError
from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.operators import new_operator, operator_login
from tests.auth_service.requests import (
    AUTH,
    USERS,
    authority_of,
    claims,
    logout,
    me,
    platform_events,
    refresh,
    security_events,
    set_status,
)
from tests.suite import OPERATOR_EMAIL, PASSWORD, Suite, TenantHandle

ACT_AS = f"{AUTH}/act-as"


async def operator_sign_in(suite: Suite, **body: Any) -> httpx.Response:
    asked = {"email": OPERATOR_EMAIL, "password": suite.operator_password} | body
    return await suite.post_anonymously(f"{AUTH}/operator/login", asked)


async def visit(suite: Suite, tenant: TenantHandle, token: str, **body: Any) -> httpx.Response:
    asked = {"tenantId": str(tenant.id), "reason": "Ticket 4711"} | body
    return await suite.client.post(ACT_AS, json=asked, headers=bearer(token))


async def test_an_operator_signs_in_without_a_tenant(suite: Suite) -> None:
    document = fine(await operator_sign_in(suite))
    assert document.keys() == {"success", "token", "tokenType", "expiresIn", "refreshToken", "user"}
    assert document["user"]["role"] == "operator"
    found = claims(document["token"])
    assert (found["role"], found["scope"]) == ("operator", "")
    assert "tenantId" not in found
    who = fine(await me(suite, document["token"]))
    assert (who["user"]["email"], who["tenant"], who["permissions"]) == (OPERATOR_EMAIL, None, [])
    events = await platform_events(suite, "login.succeeded")
    assert str(events[-1].actor) == document["user"]["id"]


async def test_an_operators_session_is_refreshed_listed_and_ended(suite: Suite) -> None:
    first = fine(await operator_sign_in(suite))
    second = fine(await refresh(suite, first["refreshToken"]))
    assert "tenant" not in second
    listed = fine(await suite.client.get(f"{AUTH}/sessions", headers=bearer(second["token"])))
    assert claims(second["token"])["sid"] in [session["id"] for session in listed]
    again = fine(await refresh(suite, first["refreshToken"]))
    refused(await refresh(suite, second["refreshToken"]), 409, "refresh_superseded")
    third = fine(await refresh(suite, again["refreshToken"]))
    refused(await refresh(suite, first["refreshToken"]), 401, "token_revoked")
    refused(await me(suite, third["token"]), 401, "token_revoked")


async def test_wrong_operators_get_one_answer_and_wait(suite: Suite) -> None:
    """Catalogue 79 and 81."""
    email = "nobody@platform.example"
    for _ in range(10):
        refused(await operator_sign_in(suite, email=email), 401, "invalid_credentials")
    refused(await operator_sign_in(suite, email=email), 429, "login_throttled")
    refused(await operator_sign_in(suite, password="wrong"), 401, "invalid_credentials")
    events = await platform_events(suite, "login.failed")
    assert (events[-1].outcome, events[-1].actor) == ("refused", None)
    assert (events[-1].resource or "").startswith("operator:")


async def test_a_member_is_no_operator(suite: Suite) -> None:
    tenant = await suite.tenant()
    answer = await operator_sign_in(suite, email=tenant.owner_email, password=PASSWORD)
    refused(answer, 401, "invalid_credentials")


async def test_a_visit_opens_the_tenant_for_a_quarter_of_an_hour(suite: Suite) -> None:
    """Catalogue 76 and 97."""
    tenant = await suite.tenant("custom")
    refused(await suite.client.get(USERS, headers=suite.operator), 403, "act_as_required")
    document = fine(await visit(suite, tenant, suite.operator_token))
    assert (document["expiresIn"], document["tenant"]["slug"]) == (900, tenant.slug)
    assert "refreshToken" not in document
    found, own = claims(document["token"]), claims(suite.operator_token)
    assert found["act"] == {"sub": own["sub"]}
    assert (found["sub"], found["sid"], found["role"]) == (own["sub"], own["sid"], "admin")
    assert set(found["scope"].split()) == {permission.value for permission in ACT_AS_PERMISSIONS}
    assert "apikeys:write" not in found["scope"]
    users = fine(await suite.client.get(USERS, headers=bearer(document["token"])))
    assert [user["email"] for user in users] == [tenant.owner_email]
    who = fine(await me(suite, document["token"]))
    assert (who["act"], who["user"]["role"]) == ({"sub": own["sub"]}, "admin")
    other = await suite.tenant("custom")
    foreign = bearer(document["token"]) | {"X-Tenant-ID": str(other.id)}
    refused(await suite.client.get(USERS, headers=foreign), 403, "tenant_mismatch")


async def test_a_visit_is_written_down_on_both_sides(suite: Suite) -> None:
    """Catalogue 76 and 97."""
    tenant = await suite.tenant()
    fine(await visit(suite, tenant, suite.operator_token))
    operator = claims(suite.operator_token)["sub"]
    *_, event = await security_events(suite, tenant)
    assert (event.action, event.actor_kind, str(event.actor)) == ("operator.act_as", "operator", operator)
    assert event.changes == {"reason": {"old": None, "new": "Ticket 4711"}}
    *_, noted = await platform_events(suite, "operator.act_as")
    assert (noted.tenant_id, str(noted.actor), noted.reason) == (tenant.id, operator, "Ticket 4711")


async def test_a_visit_needs_an_operator_a_tenant_and_a_reason(suite: Suite) -> None:
    tenant = await suite.tenant()
    refused(await visit(suite, tenant, tenant.owner_token), 403, "permission_denied")
    inside = fine(await visit(suite, tenant, suite.operator_token))["token"]
    refused(await visit(suite, tenant, inside), 403, "permission_denied")
    answer = await visit(suite, tenant, suite.operator_token, tenantId=str(new_id()))
    refused(answer, 404, "tenant_not_found")
    for body in ({"reason": ""}, {"reason": " a "}, {"tenantId": "acme"}, {"reason": "x" * 501}):
        refused(await visit(suite, tenant, suite.operator_token, **body), 422, "validation_failed")
    refused(await suite.post_anonymously(ACT_AS, {}), 401, "authentication_required")


async def test_a_visitor_leaves_no_key_behind(suite: Suite) -> None:
    """Catalogue 76."""
    tenant = await suite.tenant("custom")
    headers = bearer(fine(await visit(suite, tenant, suite.operator_token))["token"])
    body = {"currentPassword": PASSWORD, "newPassword": "Other-Horse-7-Battery"}
    answer = await suite.client.post(f"{AUTH}/password/change", json=body, headers=headers)
    refused(answer, 403, "permission_denied")
    answer = await suite.client.patch(f"{USERS}/{tenant.owner.id}", json={"role": "viewer"}, headers=headers)
    refused(answer, 403, "permission_denied")


async def test_a_visit_dies_with_the_operators_session(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    operator = fine(await operator_sign_in(suite))
    inside = fine(await visit(suite, tenant, operator["token"]))["token"]
    fine(await logout(suite, headers=bearer(operator["token"])), 204)
    await eventually(
        lambda: suite.client.get(USERS, headers=bearer(inside)), lambda answer: answer.status_code == 401
    )
    refused(await me(suite, inside), 401, "token_revoked")
    refused(await refresh(suite, operator["refreshToken"]), 401, "token_revoked")


async def test_a_suspended_tenant_can_be_visited(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await set_status(suite, tenant, "suspended", "Abuse")
    inside = fine(await visit(suite, tenant, suite.operator_token))["token"]
    fine(await suite.client.get(USERS, headers=bearer(inside)))


async def test_an_operators_old_sessions_are_forgotten_a_week_after_their_end(suite: Suite) -> None:
    staff, now = await new_operator(suite), datetime.now(UTC)

    def aged(days: int) -> OperatorSessionRow:
        began = now - timedelta(days=days, hours=12)
        return OperatorSessionRow(
            id=new_id(),
            operator_id=staff.id,
            created_at=began,
            last_seen_at=began,
            expires_at=now - timedelta(days=days),
        )

    kept, gone = aged(6), aged(8)
    expected = {kept.id, UUID(claims(staff.token)["sid"])}
    async with authority_of(suite).transaction(None) as session:
        session.add_all((kept, gone))
    expected.add(UUID(claims(fine(await operator_login(suite, staff.email))["token"])["sid"]))
    async with authority_of(suite).transaction(None) as session:
        own = select(OperatorSessionRow.id).where(OperatorSessionRow.operator_id == staff.id)
        assert set(await session.scalars(own)) == expected


def starting(suite: Suite, email: str, password: str) -> FastAPI:
    """Return a process that starts with these settings for the first operator."""
    app = FastAPI()
    app.state.authority = authority_of(suite)
    app.state.settings = suite.settings.model_copy(
        update={"operator_email": email, "operator_password": password}
    )
    return app


async def test_the_first_operator_is_made_once(suite: Suite) -> None:
    email = "second@platform.example"
    app = starting(suite, email, "first-password")
    await asyncio.gather(*(prepare_first_operator(app) for _ in range(4)))
    fine(await operator_sign_in(suite, email=email, password="first-password"))
    # A later start with another password changes nothing.
    await prepare_first_operator(starting(suite, email, "second-password"))
    refused(
        await operator_sign_in(suite, email=email, password="second-password"), 401, "invalid_credentials"
    )
    fine(await operator_sign_in(suite, email=email, password="first-password"))


@pytest.mark.parametrize(("email", "password"), [("no address", "x"), ("long@platform.example", "x" * 1_025)])
async def test_settings_that_make_no_operator_are_named(suite: Suite, email: str, password: str) -> None:
    with pytest.raises(SettingsError, match="MIS_OPERATOR_"):
        await prepare_first_operator(starting(suite, email, password))
