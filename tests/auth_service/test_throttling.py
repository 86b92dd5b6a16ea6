"""Guessers wait ever longer, known or not, and an account's own people never with them."""

import asyncio
import math
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from auth_service.throttling.service import wait_after
from mis_tenancy.errors import TenantUnavailable
from tests.answers import fine, refused
from tests.auth_service.links import reset_link, token_of
from tests.auth_service.requests import AUTH, age_counters, authority_of, security_events, sign_in
from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

WRONG = "Wrong-Horse-7-Battery"
LATER = timedelta(hours=1)


async def fail(suite: Suite, tenant: TenantHandle, times: int, address: str | None = None) -> None:
    for _ in range(times):
        answer = await sign_in(suite, tenant, password=WRONG, address=address)
        refused(answer, 401, "invalid_credentials")


def test_the_wait_doubles_from_the_tenth_failure_up_to_a_quarter_of_an_hour() -> None:
    waits = [wait_after(failures).total_seconds() for failures in (10, 11, 12, 19, 20, 500)]
    assert waits == [1, 2, 4, 512, 900, 900]


async def test_from_the_tenth_failure_on_even_the_right_password_waits(suite: Suite) -> None:
    """Catalogue 81."""
    tenant = await suite.tenant()
    await fail(suite, tenant, 10)
    answer = await sign_in(suite, tenant)
    refused(answer, 429, "login_throttled")
    assert answer.headers["retry-after"] == "1"
    await age_counters(suite, LATER)
    await fail(suite, tenant, 1)
    answer = await sign_in(suite, tenant)
    assert answer.headers["retry-after"] == "2"
    await age_counters(suite, LATER)
    fine(await sign_in(suite, tenant))
    # A success starts the row anew.
    await fail(suite, tenant, 9)
    fine(await sign_in(suite, tenant))


async def test_an_account_that_does_not_exist_waits_just_so(suite: Suite) -> None:
    """Catalogue 79."""
    tenant = await suite.tenant()
    for slug in (tenant.slug, "no-such-tenant-at-all"):
        body = {"tenantSlug": slug, "email": "nobody@nowhere.example", "password": WRONG}
        for _ in range(10):
            refused(await suite.post_anonymously(f"{AUTH}/login", body), 401, "invalid_credentials")
        answer = await suite.post_anonymously(f"{AUTH}/login", body)
        refused(answer, 429, "login_throttled")
        assert answer.headers["retry-after"] == "1"


async def test_a_victim_on_a_known_network_is_not_locked_out(suite: Suite) -> None:
    """Catalogue 81."""
    tenant, home = await suite.tenant(), fresh_address()
    fine(await sign_in(suite, tenant, address=home))
    await fail(suite, tenant, 10)
    refused(await sign_in(suite, tenant), 429, "login_throttled")
    fine(await sign_in(suite, tenant, address=home))
    # Nor does the victim's success let the guessers go on.
    refused(await sign_in(suite, tenant), 429, "login_throttled")
    # Whoever guesses from the known network has its own counter to fill.
    await fail(suite, tenant, 10, address=home)
    refused(await sign_in(suite, tenant, address=home), 429, "login_throttled")


async def test_a_network_is_known_for_thirty_days(suite: Suite) -> None:
    tenant, home = await suite.tenant(), fresh_address()
    fine(await sign_in(suite, tenant, address=home))
    await fail(suite, tenant, 10)
    fine(await sign_in(suite, tenant, address=home))
    async with authority_of(suite).transaction(None) as session:
        await session.execute(
            text(
                "update login_throttles set window_start = window_start - interval '30 days 1 minute'"
                " where subject like 'device:%'"
            )
        )
    refused(await sign_in(suite, tenant, address=home), 429, "login_throttled")


async def test_the_same_address_in_another_tenant_is_another_account(suite: Suite) -> None:
    email = "both@people.example"
    one, two = await suite.tenant(), await suite.tenant()
    for tenant in (one, two):
        await suite.user(tenant, email=email)
    for _ in range(10):
        answer = await sign_in(suite, one, email=email, password=WRONG)
        refused(answer, 401, "invalid_credentials")
    refused(await sign_in(suite, one, email=email), 429, "login_throttled")
    fine(await sign_in(suite, two, email=email))


async def test_an_address_that_sprays_many_accounts_is_stopped(suite: Suite) -> None:
    """Catalogue 81: one password over many accounts."""
    tenant, sprayer = await suite.tenant(), fresh_address()
    await fail(suite, tenant, 1, address=sprayer)
    async with authority_of(suite).transaction(None) as session:
        await session.execute(
            text("update login_throttles set failures = 98 where subject = :subject"),
            {"subject": f"address:{sprayer}"},
        )
    body = {"tenantSlug": tenant.slug, "password": WRONG}
    async with suite.client_at(sprayer) as client:
        for number in range(2):
            email = f"victim-{number}@spray.example"
            answer = await client.post(f"{AUTH}/login", json=body | {"email": email})
            refused(answer, 401, "invalid_credentials")
        answer = await client.post(f"{AUTH}/login", json=body | {"email": "victim-3@spray.example"})
        refused(answer, 429, "login_throttled")
        assert 880 < int(answer.headers["retry-after"]) <= 900
    fine(await sign_in(suite, tenant))


async def set_failures(suite: Suite, subject: str, failures: int) -> None:
    """Let so much have failed already at the one counter whose name begins so and that was touched last."""
    async with authority_of(suite).transaction(None) as session:
        changed = await session.scalar(
            text(
                "update login_throttles set failures = :failures where subject ="
                " (select subject from login_throttles where subject like :subject || '%'"
                " order by window_start desc limit 1) returning subject"
            ),
            {"failures": failures, "subject": subject},
        )
    assert changed is not None


async def test_a_spray_from_everywhere_closes_the_tenant_to_strangers_alone(suite: Suite) -> None:
    """Catalogue 81: few passwords, many accounts, many addresses; the tenant's own people stay in."""
    tenant, other, home = await suite.tenant(), await suite.tenant(), fresh_address()
    fine(await sign_in(suite, tenant, address=home))
    spray = {"tenantSlug": tenant.slug, "password": WRONG}
    await suite.post_anonymously(f"{AUTH}/login", spray | {"email": "a@spray.example"})
    await set_failures(suite, "realm:", 998)
    for number in range(2):
        sent = spray | {"email": f"victim-{number}@spray.example"}
        refused(await suite.post_anonymously(f"{AUTH}/login", sent), 401, "invalid_credentials")
    sent = spray | {"email": "fresh@spray.example"}
    answer = await suite.post_anonymously(f"{AUTH}/login", sent)
    refused(answer, 429, "login_throttled")
    assert 880 < int(answer.headers["retry-after"]) <= 900
    # Known networks go on, what fails there included; so does every other tenant.
    fine(await sign_in(suite, tenant, address=home))
    await fail(suite, tenant, 1, address=home)
    fine(await sign_in(suite, other))
    # Whoever is out travelling gets in by the mail.
    away = fresh_address()
    refused(await sign_in(suite, tenant, address=away), 429, "login_throttled")
    token = token_of(await reset_link(suite, tenant, tenant.owner_email))
    async with suite.client_at(away) as client:
        body = {"token": token, "newPassword": "Another-Horse-8-Battery"}
        fine(await client.post(f"{AUTH}/password/reset", json=body), 204)
    fine(await sign_in(suite, tenant, address=away, password="Another-Horse-8-Battery"))
    refused(await sign_in(suite, tenant), 429, "login_throttled")


async def test_what_fails_at_home_is_not_held_against_the_tenant(suite: Suite) -> None:
    """Catalogue 81: else its own people's typing errors would close it to strangers."""
    tenant, home = await suite.tenant(), fresh_address()
    fine(await sign_in(suite, tenant, address=home))
    async with authority_of(suite).transaction(None) as session:
        counted = text("select coalesce(sum(failures), 0) from login_throttles where subject like 'realm:%'")
        before = await session.scalar(counted)
    await fail(suite, tenant, 3, address=home)
    async with authority_of(suite).transaction(None) as session:
        assert await session.scalar(counted) == before


@pytest.mark.deep
async def test_a_thousand_guesses_at_one_account_from_a_hundred_addresses_are_looked_at_ten_times(
    suite: Suite,
) -> None:
    """Catalogue 81, 82: as fast as they can be sent, also while Redis is away."""
    tenant = await suite.tenant()
    addresses = [fresh_address() for _ in range(100)]
    redis = authority_of(suite).tenancy.redis
    assert redis is not None
    command, redis.command = redis.command, _away  # type: ignore[method-assign]
    began = time.monotonic()
    try:
        answers = [
            await sign_in(suite, tenant, password=f"{WRONG}-{number}", address=addresses[number % 100])
            for number in range(1_000)
        ]
    finally:
        redis.command = command  # type: ignore[method-assign]
    looked_at = [answer for answer in answers if answer.status_code == 401]
    assert {answer.status_code for answer in answers} == {401, 429}
    # One more each time that a wait has run out: after 1, 2, 4, 8 … seconds, however slow the machine is.
    waits = int(math.log2(1 + time.monotonic() - began))
    assert 10 <= len(looked_at) <= 10 + waits


@pytest.mark.deep
async def test_one_password_over_a_thousand_accounts_from_many_addresses_meets_the_tenants_wall(
    suite: Suite,
) -> None:
    """Catalogue 81."""
    tenant = await suite.tenant()
    addresses = [fresh_address() for _ in range(50)]
    answers = [
        await sign_in(
            suite,
            tenant,
            email=f"victim-{number}@spray.example",
            password=WRONG,
            address=addresses[number % 50],
        )
        for number in range(1_100)
    ]
    assert [answer.status_code for answer in answers] == [401] * 1_000 + [429] * 100
    fine(await sign_in(suite, await suite.tenant()))


async def test_guesses_sent_all_at_once_gain_nothing(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 81: many passwords for one account, in parallel, the right one looked at last."""
    tenant, failures = await suite.tenant(), asyncio.Event()
    passwords = authority_of(suite).passwords
    verify = passwords.verify

    async def last_if_right(encoded: str | None, password: str) -> bool:
        if password == PASSWORD:
            await failures.wait()
        return await verify(encoded, password)

    monkeypatch.setattr(passwords, "verify", last_if_right)
    right = asyncio.create_task(sign_in(suite, tenant))
    # It must be past the first look at the counters before the others fail.
    await asyncio.sleep(0.1)
    answers = await asyncio.gather(*(sign_in(suite, tenant, password=WRONG) for _ in range(30)))
    failures.set()
    refused(await right, 429, "login_throttled")
    assert {answer.status_code for answer in answers} <= {401, 429}
    failed = sum(event.action == "login.failed" for event in await security_events(suite, tenant))
    assert failed == sum(answer.status_code == 401 for answer in answers)


async def test_many_right_sign_ins_at_once_all_succeed(suite: Suite) -> None:
    """Catalogue 84: hashing is bounded, so they queue instead of failing."""
    tenant = await suite.tenant()
    answers = await asyncio.gather(*(sign_in(suite, tenant) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}


async def test_counting_needs_no_redis(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 82: counters are in Postgres; without it there is no sign-in at all, limited or not."""
    tenant = await suite.tenant()
    redis = authority_of(suite).tenancy.redis
    assert redis is not None
    with monkeypatch.context() as patched:
        patched.setattr(redis, "command", _away)
        await fail(suite, tenant, 10)
        refused(await sign_in(suite, tenant), 429, "login_throttled")

    async def unconfirmed() -> None:
        raise TenantUnavailable

    monkeypatch.setattr(authority_of(suite).tenancy.feed, "confirm", unconfirmed)
    refused(await sign_in(suite, tenant), 503, "tenant_unavailable")


async def _away(*args: object) -> object:
    raise ConnectionError


async def test_counters_that_have_lapsed_are_cleared_away(suite: Suite) -> None:
    tenant = await suite.tenant()
    old = text(
        "insert into login_throttles (subject, failures, window_start)"
        " select 'account:old-' || n, 3, now() - interval '25 hours' from generate_series(1, 15) n"
    )
    async with authority_of(suite).transaction(None) as session:
        await session.execute(old)
    await fail(suite, tenant, 2)
    async with authority_of(suite).transaction(None) as session:
        left = await session.scalar(
            text("select count(*) from login_throttles where subject like 'account:old-%'")
        )
    assert left == 0
