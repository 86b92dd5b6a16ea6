"""Signing keys: made once, published in advance, rotated without a failed verification."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from auth_service.signing_keys.service import VERIFIES_FOR, SigningKeys
from mis_models.platform import SigningKeyRow
from mis_tenancy.encryption import Wrapping
from mis_tenancy.settings import MasterKeys, SettingsError
from mis_tenancy.tables import PublicSigningKeyRow
from mis_tenancy.tokens.published_keys import published_keys
from tests.answers import bearer, fine, refused
from tests.auth_service.requests import AUTH, USERS, authority_of, me, platform_events, sign_in
from tests.suite import PUBLIC_URL, Suite

ROTATE = f"{AUTH}/signing-keys/rotate"


async def rows(suite: Suite) -> list[PublicSigningKeyRow]:
    async with authority_of(suite).transaction(None) as session:
        return list(await session.scalars(select(PublicSigningKeyRow)))


async def test_the_key_set_shows_public_members_and_may_be_cached_for_a_while(suite: Suite) -> None:
    """Catalogue 73."""
    answer = await suite.client.get("/.well-known/jwks.json")
    keys = fine(answer)["keys"]
    assert len(keys) >= 2
    for key in keys:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert timedelta(seconds=300) < VERIFIES_FOR


async def test_discovery_comes_from_the_configuration_never_from_the_host(suite: Suite) -> None:
    """Catalogue 126."""
    for path in ("openid-configuration", "oauth-authorization-server"):
        answer = await suite.client.get(f"/.well-known/{path}", headers={"Host": "evil.example"})
        document = fine(answer)
        assert document["issuer"] == PUBLIC_URL
        assert document["jwks_uri"] == f"{PUBLIC_URL}/.well-known/jwks.json"
        assert "evil" not in answer.text


async def test_private_halves_are_stored_wrapped_and_only_for_keys_that_will_sign(suite: Suite) -> None:
    fine(await suite.client.post(ROTATE, headers=suite.operator))
    states = {row.kid: row.state for row in await rows(suite)}
    async with authority_of(suite).transaction(None) as session:
        private = list(await session.scalars(select(SigningKeyRow)))
    assert {states[row.kid] for row in private} == {"current", "next"}
    assert len(private) == 2
    assert all(b"PRIVATE KEY" not in row.wrapped_key for row in private)


async def test_a_rotation_moves_each_key_on(suite: Suite) -> None:
    tenant = await suite.tenant()
    before = {row.state: row.kid for row in await rows(suite) if row.state != "retired"}
    shown = fine(await suite.client.post(ROTATE, headers=suite.operator))
    after = {row.kid: row for row in await rows(suite)}
    assert after[before["next"]].state == "current"
    retired = after[before["current"]]
    assert retired.state == "retired"
    assert retired.retired_at is not None
    assert retired.verifies_until == retired.retired_at + VERIFIES_FOR
    assert {key["kid"]: key["state"] for key in shown} == {kid: row.state for kid, row in after.items()}
    # Tokens from before go on, and new ones are signed by the key that everybody already knew.
    fine(await me(suite, tenant.owner_token))
    fine(await me(suite, fine(await sign_in(suite, tenant))["token"]))
    *_, event = await platform_events(suite, "signing_keys.rotated")
    assert event.kind == "change"


async def test_only_operators_rotate(suite: Suite) -> None:
    tenant = await suite.tenant()
    refused(await suite.client.post(ROTATE, headers=tenant.auth), 403, "permission_denied")
    refused(await suite.client.post(ROTATE), 401, "authentication_required")


async def test_rotations_among_requests_fail_no_verification(suite: Suite) -> None:
    """Catalogue 72, in one process; tests/mis_cli/test_key_rotation.py has several, under load."""
    each = 25
    tenant = await suite.tenant("custom")
    tokens, statuses, done = [tenant.owner_token], [], asyncio.Event()
    reached = asyncio.Condition()

    async def use() -> None:
        while not done.is_set():
            answer = await suite.client.get(USERS, headers=bearer(tokens[-1]))
            statuses.append(answer.status_code)
            async with reached:
                reached.notify_all()

    users = [asyncio.create_task(use()) for _ in range(16)]
    for _ in range(4):
        fine(await suite.client.post(ROTATE, headers=suite.operator))
        tokens.append(fine(await sign_in(suite, tenant))["token"])
        seen = len(statuses)
        async with reached:
            await reached.wait_for(lambda: len(statuses) >= seen + each)  # noqa: B023  # awaited at once
    done.set()
    await asyncio.gather(*users)
    assert set(statuses) == {200}


async def test_a_retired_key_is_withdrawn_after_the_last_token_it_signed(suite: Suite) -> None:
    """Catalogue 72."""
    # The key that signed only between these two rotations has signed nothing that another test holds.
    fine(await suite.client.post(ROTATE, headers=suite.operator))
    [kid] = [row.kid for row in await rows(suite) if row.state == "current"]
    fine(await suite.client.post(ROTATE, headers=suite.operator))
    assert kid in await published_keys(suite.database)
    over = update(PublicSigningKeyRow).where(PublicSigningKeyRow.kid == kid)
    async with authority_of(suite).transaction(None) as session:
        await session.execute(over.values(verifies_until=datetime.now(UTC) - timedelta(seconds=1)))
    await authority_of(suite).keys.forget()
    shown = fine(await suite.client.get("/.well-known/jwks.json"))["keys"]
    assert kid not in [key["kid"] for key in shown]
    assert kid not in await published_keys(suite.database)
    fine(await suite.client.post(ROTATE, headers=suite.operator))
    assert kid not in [row.kid for row in await rows(suite)]


async def test_processes_that_start_together_agree_on_the_keys(suite: Suite) -> None:
    authority = authority_of(suite)
    before = {row.kid for row in await rows(suite)}
    wrapping, confirm = authority.tenancy.wrapping, authority.tenancy.feed.confirm
    others = [SigningKeys(authority.database, wrapping, confirm) for _ in range(3)]
    await asyncio.gather(*(other.ensure() for other in others))
    assert {row.kid for row in await rows(suite)} == before
    names = {(await keys.current())[0] for keys in (authority.keys, *others)}
    assert len(names) == 1


async def test_a_missing_next_key_is_made_and_a_missing_current_one_is_promoted(suite: Suite) -> None:
    authority = authority_of(suite)
    async with authority.transaction(None) as session:
        retire = update(PublicSigningKeyRow).where(PublicSigningKeyRow.state == "current")
        until = datetime.now(UTC) + VERIFIES_FOR
        await session.execute(
            retire.values(state="retired", retired_at=datetime.now(UTC), verifies_until=until)
        )
    [promoted] = [row.kid for row in await rows(suite) if row.state == "next"]
    await authority.keys.forget()
    await authority.keys.ensure()
    assert (await authority.keys.current())[0] == promoted
    assert sorted(row.state for row in await rows(suite) if row.state != "retired") == ["current", "next"]
    for service in suite.apps:
        await suite.tenancy(service).keys.refresh()


async def test_a_service_without_the_master_key_says_so_at_start(suite: Suite) -> None:
    authority = authority_of(suite)
    stranger = Wrapping(MasterKeys({"other": bytes(32)}, "other"))
    keys = SigningKeys(authority.database, stranger, authority.tenancy.feed.confirm)
    with pytest.raises(SettingsError, match="MIS_MASTER_KEYS"):
        await keys.ensure()
