"""Refresh tokens: good once, forgiving about one lost answer, and deadly when they are stolen."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from auth_service.sessions.refresh_tokens import RefreshToken, new_refresh_token, parse_refresh_token
from mis_models.accounts import RefreshTokenRow, SessionRow, UserRow
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.requests import (
    USERS,
    age_rotation,
    age_session,
    alter,
    authority_of,
    claims,
    logout,
    me,
    refresh,
    security_events,
    set_status,
    sign_in,
)
from tests.database import CountingProxy
from tests.suite import Suite

BEYOND_GRACE = timedelta(seconds=11)


async def test_a_refresh_answers_as_the_sign_in_did_but_for_the_user(suite: Suite) -> None:
    tenant = await suite.tenant()
    document = fine(await refresh(suite, tenant.owner.refresh_token))
    assert document.keys() == {"success", "token", "tokenType", "expiresIn", "refreshToken", "tenant"}
    assert document["tenant"]["id"] == str(tenant.id)
    before, after = claims(tenant.owner_token), claims(document["token"])
    assert (after["sid"], after["sub"], after["scope"]) == (before["sid"], before["sub"], before["scope"])
    assert after["jti"] != before["jti"]
    fine(await me(suite, document["token"]))
    again = fine(await refresh(suite, document["refreshToken"]))
    fine(await me(suite, again["token"]))


async def test_only_the_digest_of_a_refresh_token_is_stored(suite: Suite) -> None:
    tenant = await suite.tenant()
    parsed = parse_refresh_token(tenant.owner.refresh_token)
    assert parsed is not None
    async with suite.database.transaction(tenant.id) as session:
        stored = (await session.scalars(select(RefreshTokenRow))).one()
    assert stored.token_hash == parsed.digest
    assert parsed.secret not in stored.token_hash
    assert parsed.text not in repr(parsed)


async def test_reuse_after_the_grace_ends_the_family_for_both_parties(suite: Suite) -> None:
    """Catalogue 69."""
    tenant = await suite.tenant("custom")
    stolen = tenant.owner.refresh_token
    fresh = fine(await refresh(suite, stolen))
    await age_rotation(suite, tenant, stolen, BEYOND_GRACE)
    refused(await refresh(suite, stolen), 401, "token_revoked")
    refused(await refresh(suite, fresh["refreshToken"]), 401, "token_revoked")
    for token in (tenant.owner_token, fresh["token"]):
        refused(await me(suite, token), 401, "token_revoked")
    await eventually(
        lambda: suite.client.get(USERS, headers=bearer(fresh["token"])),
        lambda answer: answer.status_code == 401,
    )
    *_, event = await security_events(suite, tenant)
    assert (event.action, event.outcome) == ("session.refresh_reused", "refused")
    # Another session of the same user goes on.
    fine(await sign_in(suite, tenant))


async def test_a_lost_answer_is_given_again_within_the_grace(suite: Suite) -> None:
    tenant = await suite.tenant()
    lost = fine(await refresh(suite, tenant.owner.refresh_token))
    found = fine(await refresh(suite, tenant.owner.refresh_token))
    # The first successor is void, which revokes nothing.
    refused(await refresh(suite, lost["refreshToken"]), 409, "refresh_superseded")
    fine(await me(suite, found["token"]))
    fine(await refresh(suite, found["refreshToken"]))


async def test_within_the_grace_a_used_successor_makes_it_a_theft(suite: Suite) -> None:
    tenant = await suite.tenant()
    first = tenant.owner.refresh_token
    second = fine(await refresh(suite, first))
    third = fine(await refresh(suite, second["refreshToken"]))
    refused(await refresh(suite, first), 401, "token_revoked")
    refused(await refresh(suite, third["refreshToken"]), 401, "token_revoked")


@pytest.mark.parametrize("parties", [2, 12])
async def test_of_parallel_refreshes_exactly_one_family_member_survives(suite: Suite, parties: int) -> None:
    """Catalogue 69."""
    tenant = await suite.tenant()
    token = tenant.owner.refresh_token
    pairs = [
        fine(answer) for answer in await asyncio.gather(*(refresh(suite, token) for _ in range(parties)))
    ]
    async with suite.database.transaction(tenant.id) as session:
        states = sorted(await session.scalars(select(RefreshTokenRow.state)))
    assert states == ["current", "rotated"] + ["void"] * (parties - 1)
    answers = [await refresh(suite, pair["refreshToken"]) for pair in pairs]
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (parties - 1)


async def test_old_and_new_tokens_in_parallel_never_wait_for_one_another_in_a_circle(suite: Suite) -> None:
    for _ in range(5):
        tenant = await suite.tenant()
        old = tenant.owner.refresh_token
        new = fine(await refresh(suite, old))["refreshToken"]
        answers = await asyncio.gather(*(refresh(suite, token) for token in (old, new, old, new)))
        assert {answer.status_code for answer in answers} <= {200, 401, 409}


async def test_an_idle_session_ends(suite: Suite) -> None:
    tenant = await suite.tenant()
    session_id = UUID(claims(tenant.owner_token)["sid"])
    idle = datetime.now(UTC) - timedelta(seconds=3_601)
    await age_session(suite, tenant, session_id, last_seen_at=idle)
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_expired")


async def test_an_old_session_ends_however_busy_it_was(suite: Suite) -> None:
    tenant = await suite.tenant()
    session_id = UUID(claims(tenant.owner_token)["sid"])
    await age_session(suite, tenant, session_id, created_at=datetime.now(UTC) - timedelta(days=31))
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_expired")
    other = fine(await sign_in(suite, tenant))
    session_id = UUID(claims(other["token"])["sid"])
    await age_session(suite, tenant, session_id, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    refused(await refresh(suite, other["refreshToken"]), 401, "token_expired")


async def test_idle_time_counts_from_the_last_refresh(suite: Suite) -> None:
    tenant = await suite.tenant()
    session_id = UUID(claims(tenant.owner_token)["sid"])
    almost = datetime.now(UTC) - timedelta(seconds=3_500)
    await age_session(suite, tenant, session_id, last_seen_at=almost)
    fine(await refresh(suite, tenant.owner.refresh_token))
    async with suite.database.transaction(tenant.id) as session:
        seen = (await session.scalars(select(SessionRow.last_seen_at))).one()
    assert datetime.now(UTC) - seen < timedelta(seconds=60)


async def test_a_token_presented_at_another_tenants_host_is_refused_and_stays_good(suite: Suite) -> None:
    """Catalogue 70."""
    tenant, other = await suite.tenant(), await suite.tenant()
    token = tenant.owner.refresh_token
    for headers in (
        {"Host": f"{other.slug}.mis.local"},
        {"X-Tenant-ID": str(other.id)},
        {"X-Tenant-Slug": other.slug},
        {"X-Tenant-Slug": "no-such-tenant"},
    ):
        refused(await refresh(suite, token, headers=headers), 401, "token_invalid")
    fine(await refresh(suite, token, headers={"Host": f"{tenant.slug}.mis.local"}))


async def test_a_token_that_is_not_whole_is_refused_and_ends_nothing(suite: Suite) -> None:
    """Catalogue 71."""
    tenant, other = await suite.tenant(), await suite.tenant()
    good = tenant.owner.refresh_token
    parsed = parse_refresh_token(good)
    assert parsed is not None
    forged = [
        good[:-1],
        good + "A",
        good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"),
        good.upper(),
        f" {good[1:]}",
        "",
        "mis_rt_",
        "\N{GRINNING FACE}" * 20,
        good.replace("mis_rt_", "mis_ro_"),
        new_refresh_token(tenant.id).text,
        new_refresh_token(new_id()).text,
        new_refresh_token(None).text,
        RefreshToken(other.id, parsed.id, parsed.secret).text,
        RefreshToken(None, parsed.id, parsed.secret).text,
        tenant.owner_token,
    ]
    for token in forged:
        refused(await refresh(suite, token), 401, "token_invalid")
    # It is no access token either.
    refused(await me(suite, good), 401, "token_invalid")
    fine(await refresh(suite, good))


async def test_nobody_ends_a_family_by_knowing_a_used_tokens_id(suite: Suite) -> None:
    """Catalogue 71: an id is no secret, so only the whole token counts as reuse."""
    tenant = await suite.tenant()
    used = parse_refresh_token(tenant.owner.refresh_token)
    assert used is not None
    pair = fine(await refresh(suite, used.text))
    invented = RefreshToken(tenant.id, used.id, bytes(32)).text
    for by in (timedelta(0), BEYOND_GRACE):
        await age_rotation(suite, tenant, used.text, by)
        refused(await refresh(suite, invented), 401, "token_invalid")
        refused(await logout(suite, {"refreshToken": invented}), 401, "token_invalid")
    fine(await refresh(suite, pair["refreshToken"]))


async def test_a_disabled_users_refresh_token_is_no_good(suite: Suite) -> None:
    """Catalogue 67."""
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    await alter(suite, tenant, update(UserRow).where(UserRow.id == user.id).values(status="disabled"))
    refused(await refresh(suite, user.refresh_token), 401, "token_revoked")


async def test_a_refresh_brings_the_users_present_role(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    body = {"role": "admin"}
    fine(await suite.client.patch(f"{USERS}/{user.id}", json=body, headers=tenant.auth))
    await eventually(lambda: me(suite, user.token), lambda answer: answer.status_code == 401)
    found = claims(fine(await refresh(suite, user.refresh_token))["token"])
    assert (found["role"], found["ver"]) == ("admin", [1, 0])


async def test_a_full_session_does_not_turn_into_a_narrow_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await set_status(suite, tenant, "pending_deletion", raise_epoch=True)
    answer = refused(await refresh(suite, tenant.owner.refresh_token), 403, "tenant_pending_deletion")
    assert answer["purgeAt"]
    # The refusal has used nothing up.
    await set_status(suite, tenant, "active", raise_epoch=True)
    fine(await refresh(suite, tenant.owner.refresh_token))


async def test_a_refresh_takes_three_round_trips(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await suite.tenant()
    authority = authority_of(suite)
    assert suite.settings.auth_database_url is not None
    async with CountingProxy(suite.settings.auth_database_url) as proxy:
        counted = Database(proxy.url, pool_size=1)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(authority, "database", counted)
                # The first one connects and prepares.
                token = fine(await refresh(suite, tenant.owner.refresh_token))["refreshToken"]
                proxy.reset()
                fine(await refresh(suite, token))
            assert proxy.turns == 3, proxy.sent
        finally:
            await counted.stop()


@given(secret=st.binary(min_size=32, max_size=32), tenant=st.none() | st.uuids(), id=st.uuids())
def test_a_refresh_token_has_one_spelling(secret: bytes, tenant: UUID | None, id: UUID) -> None:
    token = RefreshToken(tenant, id, secret)
    assert parse_refresh_token(token.text) == token


@given(st.text(max_size=120))
def test_what_is_no_refresh_token_is_none(text: str) -> None:
    assert parse_refresh_token(text) is None
    assert parse_refresh_token(f"mis_rt_{text}") is None
