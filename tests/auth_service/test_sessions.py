"""One's own sessions: shown, ended one by one or all at once, and ended everywhere within a second."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PLANS, PlanName
from mis_tenancy.tokens.signing import sign_access_token
from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.requests import (
    AUTH,
    USERS,
    age_session,
    audited,
    authority_of,
    claims,
    logout,
    me,
    refresh,
    sign_in,
)
from tests.suite import Suite, TenantHandle

SESSIONS = f"{AUTH}/sessions"


async def expired(suite: Suite, token: str) -> str:
    """Return the token as it would be, had it been signed an hour ago."""
    kid, private = await authority_of(suite).keys.current()
    found = claims(token)
    return sign_access_token(private, kid, found | {"iat": found["iat"] - 3_600, "exp": found["exp"] - 3_600})


async def ended_everywhere(suite: Suite, token: str) -> None:
    """Wait, a second at most, until no service takes the token."""
    for path in (f"{AUTH}/me", USERS, f"/api/v1/tenants/{claims(token)['tenantId']}"):

        async def ask(path: str = path) -> object:
            return await suite.client.get(path, headers=bearer(token))

        answer = await eventually(ask, lambda answer: answer.status_code == 401)  # type: ignore[arg-type]
        refused(answer, 401, "token_revoked")


async def test_me_says_who_where_and_with_which_rights(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    viewer = await suite.user(tenant, "viewer")
    document = fine(await me(suite, viewer.token))
    assert document["user"] == {
        "id": str(viewer.id),
        "email": viewer.email,
        "name": "Uma User",
        "role": "viewer",
    }
    assert document["tenant"]["slug"] == tenant.slug
    assert document["permissions"] == ["media:read", "usage:read", "users:read"]
    assert document["features"] == sorted(PLANS[PlanName.PREMIUM].features)
    assert document["session"]["id"] == claims(viewer.token)["sid"]
    assert document["session"]["current"] is True
    assert "act" not in document


async def test_a_sign_in_beyond_the_most_sessions_ends_the_one_that_began_first(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.sessions.service.MOST_SESSIONS", 3)
    tenant = await suite.tenant()
    colleague = await suite.user(tenant, "owner")
    first = tenant.owner
    later = [fine(await sign_in(suite, tenant, email=first.email)) for _ in range(3)]
    await ended_everywhere(suite, first.token)
    refused(await refresh(suite, first.refresh_token), 401, "token_revoked")
    listed = fine(await suite.client.get(SESSIONS, headers=bearer(later[-1]["token"])))
    assert [one["id"] for one in listed] == [claims(one["token"])["sid"] for one in reversed(later)]
    # Nobody else's, and none of those that are left.
    fine(await me(suite, colleague.token))
    fine(await refresh(suite, later[0]["refreshToken"]))


async def test_sessions_are_listed_newest_first_and_only_ones_own(suite: Suite) -> None:
    tenant = await suite.tenant()
    other = await suite.user(tenant)
    second = fine(await sign_in(suite, tenant, address="10.97.0.1"))
    listed = fine(await suite.client.get(SESSIONS, headers=tenant.auth))
    ids = [claims(token)["sid"] for token in (second["token"], tenant.owner_token)]
    assert [session["id"] for session in listed] == ids
    assert [session["current"] for session in listed] == [False, True]
    assert listed[0]["ip"] == "10.97.0.1"
    assert listed[0]["userAgent"].startswith("python-httpx/")
    assert listed[0].keys() == {"id", "createdAt", "lastSeenAt", "ip", "userAgent", "current"}
    assert claims(other.token)["sid"] not in ids
    page = await suite.client.get(SESSIONS, params={"limit": 1}, headers=tenant.auth)
    assert [session["id"] for session in fine(page)] == ids[:1]
    following = await suite.client.get(page.links["next"]["url"], headers=tenant.auth)
    assert [session["id"] for session in fine(following)] == ids[1:]


async def test_sessions_that_are_over_are_not_listed(suite: Suite) -> None:
    tenant = await suite.tenant()
    for columns in (
        {"last_seen_at": datetime.now(UTC) - timedelta(hours=2)},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"created_at": datetime.now(UTC) - timedelta(days=31)},
        {"revoked_at": datetime.now(UTC)},
    ):
        over = fine(await sign_in(suite, tenant))
        await age_session(suite, tenant, UUID(claims(over["token"])["sid"]), **columns)
    listed = fine(await suite.client.get(SESSIONS, headers=tenant.auth))
    assert [session["id"] for session in listed] == [claims(tenant.owner_token)["sid"]]


async def test_an_ended_session_is_over_in_every_service_within_a_second(suite: Suite) -> None:
    """Catalogue 67 and 77."""
    tenant = await suite.tenant("custom")
    other = fine(await sign_in(suite, tenant))
    path = f"{SESSIONS}/{claims(other['token'])['sid']}"
    fine(await suite.client.delete(path, headers=tenant.auth), 204)
    await ended_everywhere(suite, other["token"])
    refused(await refresh(suite, other["refreshToken"]), 401, "token_revoked")
    fine(await me(suite, tenant.owner_token))
    refused(await suite.client.delete(path, headers=tenant.auth), 404, "session_not_found")
    assert (await audited(suite, tenant))[-1] == "session.revoked"


async def test_all_others_end_at_once(suite: Suite) -> None:
    """Catalogue 77."""
    tenant = await suite.tenant("custom")
    others = [fine(await sign_in(suite, tenant)) for _ in range(2)]
    bystander = await suite.user(tenant)
    fine(await suite.client.delete(SESSIONS, headers=tenant.auth), 204)
    for other in others:
        await ended_everywhere(suite, other["token"])
    for token in (tenant.owner_token, bystander.token):
        fine(await me(suite, token))


async def test_nobody_ends_anothers_session(suite: Suite) -> None:
    """Catalogue 93."""
    tenant, foreign = await suite.tenant(), await suite.tenant()
    colleague = await suite.user(tenant)
    for session_id in (
        claims(colleague.token)["sid"],
        claims(foreign.owner_token)["sid"],
        claims(suite.operator_token)["sid"],
        str(new_id()),
        "not-an-id",
    ):
        answer = await suite.client.delete(f"{SESSIONS}/{session_id}", headers=tenant.auth)
        refused(answer, 404, "session_not_found")
    fine(await me(suite, colleague.token))
    fine(await me(suite, foreign.owner_token))


async def test_signing_out_ends_the_session_everywhere(suite: Suite) -> None:
    """Catalogue 77."""
    tenant = await suite.tenant("custom")
    answer = await logout(suite, headers=tenant.auth)
    assert fine(answer, 204) is None
    await ended_everywhere(suite, tenant.owner_token)
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_revoked")
    # Once more is no mistake.
    fine(await logout(suite, headers=tenant.auth), 204)


async def test_an_expired_bearer_is_good_enough_to_sign_out(suite: Suite) -> None:
    tenant = await suite.tenant()
    old = await expired(suite, tenant.owner_token)
    refused(await me(suite, old), 401, "token_expired")
    fine(await logout(suite, headers=bearer(old)), 204)
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_revoked")


async def test_a_refresh_token_is_good_enough_to_sign_out(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    body = {"refreshToken": tenant.owner.refresh_token}
    fine(await logout(suite, body), 204)
    await ended_everywhere(suite, tenant.owner_token)
    fine(await logout(suite, body), 204)
    operator = {"email": "operator@platform.example", "password": suite.operator_password}
    pair = fine(await suite.post_anonymously(f"{AUTH}/operator/login", operator))
    fine(await logout(suite, {"refreshToken": pair["refreshToken"]}), 204)
    await eventually(lambda: me(suite, pair["token"]), lambda answer: answer.status_code == 401)


async def test_signing_out_takes_a_token_that_is_ours(suite: Suite) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    refused(await logout(suite), 401, "authentication_required")
    refused(await logout(suite, {}), 401, "authentication_required")
    forged = tenant.owner_token[:-4] + "AAAA"
    refused(await logout(suite, headers=bearer(forged)), 401, "token_invalid")
    refused(await logout(suite, {"refreshToken": "mis_rt_x.y"}), 401, "token_invalid")
    headers = tenant.auth | {"X-Tenant-Slug": other.slug}
    refused(await logout(suite, headers=headers), 403, "tenant_mismatch")
    foreign = {"Host": f"{other.slug}.mis.local"}
    body = {"refreshToken": tenant.owner.refresh_token}
    refused(await logout(suite, body, headers=foreign), 401, "token_invalid")
    fine(await me(suite, tenant.owner_token))
    # A good one makes up for a bad one.
    fine(await logout(suite, {"refreshToken": "nonsense"}, headers=tenant.auth), 204)


@pytest.mark.parametrize(("method", "path"), [("GET", "me"), ("GET", "sessions"), ("DELETE", "sessions")])
async def test_strangers_are_asked_to_sign_in(suite: Suite, method: str, path: str) -> None:
    answer = await suite.client.request(method, f"{AUTH}/{path}")
    refused(answer, 401, "authentication_required")


async def test_sign_outs_and_refreshes_in_parallel_leave_no_living_token(suite: Suite) -> None:
    async def race(tenant: TenantHandle) -> None:
        out, pair = await asyncio.gather(
            logout(suite, headers=tenant.auth), refresh(suite, tenant.owner.refresh_token)
        )
        fine(out, 204)
        assert pair.status_code in (200, 401)
        if pair.status_code == 200:
            refused(await refresh(suite, pair.json()["refreshToken"]), 401, "token_revoked")

    for tenant in [await suite.tenant() for _ in range(5)]:
        await race(tenant)


async def test_the_role_table_is_shown(suite: Suite) -> None:
    tenant = await suite.tenant()
    document = fine(await suite.client.get(f"{AUTH}/permissions", headers=tenant.auth))
    assert document["roles"]["viewer"] == ["media:read", "usage:read", "users:read"]
    assert set(document["roles"]["owner"]) == set(document["permissions"])
    refused(await suite.client.get(f"{AUTH}/permissions"), 401, "authentication_required")
    fine(await suite.client.get(f"{AUTH}/permissions", headers=suite.operator))
