"""Single sign-on through a real OpenID provider on loopback."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc import jws
from sqlalchemy import select, update

from auth_service.sso import service
from auth_service.sso.endpoints import COOKIE
from auth_service.sso.fetching import Answer
from mis_models.accounts import UserRow
from mis_models.sso import SsoAttemptRow, SsoIdentityRow
from mis_tenancy.tokens.jose import encode_segment
from tests.answers import fine, refused
from tests.auth_service import passkeys
from tests.auth_service.browsing import Browser, browser_at, browser_of, text_of
from tests.auth_service.links import accept, invite, mails_of, seats, token_of
from tests.auth_service.openid_provider import Provider, ec_key, parameters_of, providing
from tests.auth_service.requests import alter, audited, security_events
from tests.auth_service.sso import configure, person_of, tenant_with
from tests.servers import TestServers
from tests.suite import PASSWORD, Suite, TenantHandle, running_suite

CALLBACK = "/login/sso/callback"


@pytest.fixture(scope="module")
async def suite(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    """A suite whose tenants may have providers on loopback."""
    directory = tmp_path_factory.mktemp("sso")
    async with running_suite(test_servers, directory, sso_allow_private=True) as suite:
        yield suite


@pytest.fixture
async def provider(suite: Suite) -> AsyncIterator[Provider]:
    async with providing() as provider:
        # An earlier test's provider may have listened at the same port.
        suite.apps["auth"].state.providers._published.clear()
        yield provider


@dataclass(slots=True)
class Trip:
    """A browser on its way to the provider and back."""

    browser: Browser
    provider: Provider

    async def out(self, **query: str) -> str:
        """Start, and return the address at the provider."""
        answer = await self.browser.open("/login/sso/start", params=query)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def at_provider(self, url: str) -> str:
        """Sign in at the provider, and return the path that it sends the browser back to."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(url)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"

    async def back(self, path: str) -> httpx.Response:
        return await self.browser.open(path)

    async def whole(self, person: dict[str, Any], **query: str) -> httpx.Response:
        self.provider.person = person
        return await self.back(await self.at_provider(await self.out(**query)))


@asynccontextmanager
async def trip_of(suite: Suite, tenant: TenantHandle, provider: Provider) -> AsyncIterator[Trip]:
    async with browser_of(suite, tenant) as browser:
        yield Trip(browser, provider)


async def identities(suite: Suite, tenant: TenantHandle) -> dict[str, str]:
    """Return the address of each subject's user."""
    async with suite.database.transaction(tenant.id) as session:
        both = select(SsoIdentityRow.subject, UserRow.email).join(
            UserRow, UserRow.id == SsoIdentityRow.user_id
        )
        return {row.subject: row.email for row in await session.execute(both)}


async def reason_of(suite: Suite, tenant: TenantHandle) -> str:
    """Return why the last sign-in was refused, as the audit log has it."""
    event = (await security_events(suite, tenant))[-1]
    assert (event.action, event.outcome) == ("login.sso_refused", "refused")
    assert event.changes is not None
    return str(event.changes["reason"]["new"])


async def test_somebody_new_is_made_a_user_within_the_seats(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "viewer"})
    person = person_of(tenant)
    before, _ = await seats(suite, tenant.id)
    async with trip_of(suite, tenant, provider) as trip:
        answer = await trip.whole(person, next="/app?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/app?x=1")
        said = text_of(await trip.browser.open())
        assert "You are signed in" in said
        assert "Petra Person" in said
        assert "viewer" in said
    assert (await seats(suite, tenant.id))[0] == before + 1
    # In one transaction, so within the same moment.
    last = (await audited(suite, tenant))[-3:]
    assert sorted(last) == ["login.succeeded", "sso.accepted", "user.created"]
    async with suite.database.transaction(tenant.id) as session:
        assert list(await session.scalars(select(SsoAttemptRow.id))) == []


async def test_a_schema_that_requires_attributes_locks_nobody_out_and_holds_from_the_first_change(
    suite: Suite, provider: Provider
) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "member"})
    schema = {"type": "object", "required": ["team"], "properties": {"team": {"enum": ["north"]}}}
    body = {"configKey": "users.attributes_schema", "configValue": schema}
    fine(await suite.client.post(f"/api/v1/tenants/{tenant.id}/config", json=body, headers=tenant.auth))
    await suite.hear_of_it()
    person = person_of(tenant)
    for _ in range(2):
        async with trip_of(suite, tenant, provider) as trip:
            assert (await trip.whole(person)).status_code == 303
            assert "You are signed in" in text_of(await trip.browser.open())
    found = await suite.client.get("/api/v1/users", params={"q": person["email"]}, headers=tenant.auth)
    [user] = found.json()
    assert (user["status"], user["attributes"]) == ("active", {})
    path = f"/api/v1/users/{user['id']}"
    for bad in ({"team": "west"}, {"desk": 1}):
        answer = await suite.client.patch(path, json={"attributes": bad}, headers=tenant.auth)
        refused(answer, 422, "validation_failed")
    good = await suite.client.patch(path, json={"attributes": {"team": "north"}}, headers=tenant.auth)
    assert fine(good)["attributes"] == {"team": "north"}


async def test_somebody_known_comes_again_whatever_their_address_is_now(
    suite: Suite, provider: Provider
) -> None:
    """Catalogue 88: a change of the e-mail address at the provider neither links nor locks out."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "member"})
    victim = await suite.user(tenant, "admin", email=f"admin@{tenant.slug}.example")
    person = person_of(tenant)
    for email in (person["email"], victim.email, "elsewhere@other.example"):
        proven = {"email": email, "email_verified": email == person["email"]}
        async with trip_of(suite, tenant, provider) as trip:
            assert (await trip.whole(person | proven)).status_code == 303
            said = text_of(await trip.browser.open())
            assert person["email"] in said
            assert victim.email not in said
    assert await identities(suite, tenant) == {person["sub"]: person["email"]}


async def test_a_user_who_is_there_already_is_linked_by_a_proven_address(
    suite: Suite, provider: Provider
) -> None:
    tenant = await tenant_with(suite, provider)
    user = await suite.user(tenant, "member", email=f"Mia@{tenant.slug}.example")
    async with trip_of(suite, tenant, provider) as trip:
        answer = await trip.whole(person_of(tenant, email=user.email.upper()))
        assert answer.status_code == 303
        assert "member" in text_of(await trip.browser.open())
    assert "sso.linked" in await audited(suite, tenant)
    told = (await mails_of(suite, tenant))[-1]
    assert told.to == user.email
    assert "identity provider" in told.text
    # Whoever gets the address at the provider later does not get the account with it.
    async with trip_of(suite, tenant, provider) as trip:
        answer = await trip.whole(person_of(tenant, email=user.email))
        assert answer.status_code == 403
    assert await reason_of(suite, tenant) == "identity_taken"


@pytest.mark.parametrize("is_there", [True, False], ids=["account", "invitation"])
@pytest.mark.parametrize(
    ("theirs", "mine"), [("steve", "\u017fteve"), ("strasse", "stra\u00dfe"), ("fin", "\ufb01n")]
)
async def test_a_mailbox_that_only_looks_alike_opens_nothing_of_somebody_else(
    suite: Suite, provider: Provider, theirs: str, mine: str, is_there: bool
) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "viewer"})
    address = f"{theirs}@{tenant.slug}.example"
    if is_there:
        await suite.user(tenant, "owner", email=address)
    else:
        await invite(suite, tenant, "owner", address)
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person_of(tenant, email=f"{mine}@{tenant.slug}.example"))
        assert page.status_code == 403
    assert await reason_of(suite, tenant) == "email_taken"
    assert await identities(suite, tenant) == {}
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant, email=address.upper()))).status_code == 303
        assert "owner" in text_of(await trip.browser.open())


async def test_a_domain_that_only_looks_alike_is_not_the_providers(suite: Suite, provider: Provider) -> None:
    domains = {"allowedDomains": ["strasse.example"]}
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "viewer"}, **domains)
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person_of(tenant, email="petra@stra\u00dfe.example"))
        assert page.status_code == 403
    assert await reason_of(suite, tenant) == "domain_not_allowed"


CLAIMS: dict[str, dict[str, Any]] = {
    "email_unverified": {"email_verified": False},
    "email_unverified_text": {"email_verified": "true"},
    "email_unverified_none": {"email_verified": None},
    "email_missing": {"email": None},
    "email_malformed": {"email": "no address"},
    "domain_not_allowed": {"email": "victim@elsewhere.example"},
    "domain_not_allowed_below": {"email": "victim@sub.{domain}"},
    "domain_not_allowed_like": {"email": "victim@not{domain}"},
}


@pytest.mark.parametrize("case", CLAIMS)
async def test_an_address_that_proves_nothing_lets_nobody_in(
    suite: Suite, provider: Provider, case: str
) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True, "role": "member"})
    victim = await suite.user(tenant, "admin", email=f"victim@{tenant.slug}.example")
    person = person_of(tenant, email=victim.email) | CLAIMS[case]
    if person["email"] is not None:
        person["email"] = person["email"].replace("{domain}", f"{tenant.slug}.example")
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person)
        assert page.status_code == 403
        assert "You have no account here" in text_of(page)
        assert 'name="password"' in (await trip.browser.open()).text
    assert case.startswith(await reason_of(suite, tenant))
    assert await identities(suite, tenant) == {}


async def test_an_issuer_without_domains_of_its_own_opens_no_account(
    suite: Suite, provider: Provider
) -> None:
    """Catalogue 88: an attacker's issuer that knows the victim's address (CVE-2026-31813)."""
    tenant = await tenant_with(suite, provider, allowedDomains=[], jit={"enabled": True, "role": "member"})
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person_of(tenant, email=tenant.owner_email))
        assert page.status_code == 403
    assert await reason_of(suite, tenant) == "email_taken"
    assert await identities(suite, tenant) == {}
    # Somebody whom nobody is here yet may join.
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant, email="new@anywhere.example"))).status_code == 303


@pytest.mark.parametrize("status", ["disabled", "invited"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_user_who_is_not_active_stays_out(
    suite: Suite, provider: Provider, status: str, known: bool
) -> None:
    tenant = await tenant_with(suite, provider)
    user = await suite.user(tenant, email=f"x@{tenant.slug}.example")
    person = person_of(tenant, email=user.email)
    async with trip_of(suite, tenant, provider) as trip:
        if known:
            assert (await trip.whole(person)).status_code == 303
        await alter(suite, tenant, update(UserRow).where(UserRow.id == user.id).values(status=status))
        assert (await trip.whole(person)).status_code == 403
    assert await reason_of(suite, tenant) == f"user_{status}"


async def test_nobody_is_made_where_the_tenant_makes_nobody_or_has_no_seat(
    suite: Suite, provider: Provider
) -> None:
    tenant = await tenant_with(suite, provider)
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant))).status_code == 403
    assert await reason_of(suite, tenant) == "no_account"
    fine(await configure(suite, tenant, provider.config(jit={"enabled": True})))
    limits = {"maxUsers": 1}
    fine(await suite.client.patch(f"/api/v1/tenants/{tenant.id}", json=limits, headers=suite.operator))
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person_of(tenant))
        assert page.status_code == 409
        assert "There is no seat left" in text_of(page)
    assert await reason_of(suite, tenant) == "limit_exceeded"
    assert (await seats(suite, tenant.id))[0] == 1


async def test_an_invited_person_comes_in_as_invited_and_takes_the_seat_that_was_kept(
    suite: Suite, provider: Provider
) -> None:
    tenant = await tenant_with(suite, provider, enforce=True)
    email = f"ina@{tenant.slug}.example"
    link = (await invite(suite, tenant, "admin", email))["acceptUrl"]
    # By password nobody but an owner gets in, also by an invitation.
    refused(await accept(suite, token_of(link)), 403, "sso_required")
    assert await seats(suite, tenant.id) == (1, 1)
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant, email=email))).status_code == 303
        assert "admin" in text_of(await trip.browser.open())
    assert await seats(suite, tenant.id) == (2, 0)
    refused(await accept(suite, token_of(link)), 400, "invitation_invalid")


async def test_enforcement_turns_passwords_off_for_all_but_owners(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider)
    user = await suite.user(tenant, "admin")
    login = {"email": user.email, "password": PASSWORD, "tenantSlug": tenant.slug}
    async with browser_of(suite, tenant) as browser:
        page = await browser.open()
        assert 'href="/login/sso/start"' in page.text
        assert (await browser.sign_in(user.email)).status_code == 303
    fine(await configure(suite, tenant, provider.config(enforce=True)))
    refused(await suite.post_anonymously("/api/v1/auth/login", login), 403, "sso_required")
    wrong = login | {"password": "Wrong-Horse-7-Battery"}
    refused(await suite.post_anonymously("/api/v1/auth/login", wrong), 401, "invalid_credentials")
    assert (await security_events(suite, tenant))[-2].action == "login.sso_required"
    async with browser_of(suite, tenant) as browser:
        page = await browser.sign_in(user.email)
        assert page.status_code == 403
        assert "signs you in by single sign-on" in text_of(page)
        assert (await browser.sign_in(tenant.owner_email)).status_code == 303
    assert (await suite.sign_in(tenant.slug, tenant.owner_email, PASSWORD)).role == "owner"


async def test_enforcement_closes_passkeys_too(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider)
    member, owner = passkeys.browser_of(suite, tenant), passkeys.browser_of(suite, tenant)
    await member.register(await suite.user(tenant))
    await owner.register(tenant.owner)
    fine(await member.sign_in())
    fine(await configure(suite, tenant, provider.config(enforce=True)))
    refused(await member.sign_in(), 403, "sso_required")
    fine(await owner.sign_in())


def without(*names: str) -> Any:
    return lambda sent: {name: value for name, value in sent.items() if name not in names}


ANSWERS: dict[str, Any] = {
    "no_state": without("state"),
    "other_state": lambda sent: sent | {"state": "x" * 43},
    "no_code": without("code"),
    "other_code": lambda sent: sent | {"code": "x"},
    "no_issuer": without("iss"),
    "other_issuer": lambda sent: sent | {"iss": "https://evil.example"},
    "error": lambda sent: without("code")(sent) | {"error": "server_error"},
    "surrogate": lambda sent: sent | {"state": "\udfff".encode("utf-8", "replace").decode()},
    "nothing": lambda sent: {},
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_that_was_not_asked_for_is_refused(
    suite: Suite, provider: Provider, case: str
) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with trip_of(suite, tenant, provider) as trip:
        sent = parameters_of(await trip.at_provider(await trip.out()))
        page = await trip.browser.open(CALLBACK, params=ANSWERS[case](sent))
        assert page.status_code == 400
        assert "This sign-in is not valid any more" in text_of(page)
        assert 'name="password"' in (await trip.browser.open()).text
    assert await reason_of(suite, tenant) == "sso_failed"
    assert await identities(suite, tenant) == {}


@pytest.mark.parametrize("case", ["twice", "other_browser", "no_cookie", "expired", "other_cookie"])
async def test_an_answer_counts_once_in_time_and_in_its_own_browser(
    suite: Suite, provider: Provider, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    if case == "expired":
        monkeypatch.setattr(service, "LIFETIME", timedelta(0))
    async with trip_of(suite, tenant, provider) as trip, trip_of(suite, tenant, provider) as other:
        path = await trip.at_provider(await trip.out())
        cookie = trip.browser.client.cookies.get(COOKIE) or ""
        if case == "twice":
            assert (await trip.back(path)).status_code == 303
            trip.browser.client.cookies.clear()
            trip.browser.client.cookies.set(COOKIE, cookie)
        if case == "other_browser":
            await other.out()
            trip.browser.client.cookies.clear()
            trip.browser.client.cookies.set(COOKIE, other.browser.client.cookies.get(COOKIE) or "")
        if case in ("no_cookie", "other_cookie"):
            trip.browser.client.cookies.clear()
        if case == "other_cookie":
            trip.browser.client.cookies.set(COOKIE, "x" * 43)
        exchanged = provider.asked.count("/token")
        page = await trip.back(path)
        assert page.status_code == 400
        # The state itself is bound to the browser: not only its code is worth nothing there.
        assert provider.asked.count("/token") == exchanged
        assert 'name="password"' in (await trip.browser.open()).text


async def test_a_stolen_code_is_worth_nothing_in_another_browser(suite: Suite, provider: Provider) -> None:
    """Catalogue 88: the code is bound to the verifier, which only the first browser's cookie gives."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with trip_of(suite, tenant, provider) as victim, trip_of(suite, tenant, provider) as thief:
        stolen = parameters_of(await victim.at_provider(await victim.out()))
        own = parameters_of(await thief.out())
        page = await thief.browser.open(CALLBACK, params=stolen | {"state": own["state"]})
        assert page.status_code == 400


async def test_two_windows_of_one_browser_do_not_disturb_each_other(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with trip_of(suite, tenant, provider) as trip:
        first, second = await trip.out(next="/one"), await trip.out(next="/two")
        assert (await trip.back(await trip.at_provider(first))).headers["location"] == "/one"
        # Signing in anew ends the session that the other window has, and no more than that.
        assert (await trip.back(await trip.at_provider(second))).status_code in (303, 400)


async def test_two_first_sign_ins_at_once_make_one_user(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    person = person_of(tenant)
    provider.person = person
    async with trip_of(suite, tenant, provider) as one, trip_of(suite, tenant, provider) as two:
        paths = [await trip.at_provider(await trip.out()) for trip in (one, two)]
        answers = await asyncio.gather(one.back(paths[0]), two.back(paths[1]))
    assert [answer.status_code for answer in answers] == [303, 303]
    assert await identities(suite, tenant) == {person["sub"]: person["email"]}


async def test_a_refusal_of_the_provider_is_told_and_audited(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider)
    provider.denies = True
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole({})
        assert page.status_code == 403
        assert "Your identity provider did not let you in." in text_of(page)
    assert await reason_of(suite, tenant) == "sso_declined"


@pytest.mark.parametrize("change", ["removed", "other_client", "other_issuer"])
async def test_a_provider_that_was_changed_meanwhile_answers_nothing(
    suite: Suite, provider: Provider, change: str
) -> None:
    """Catalogue 88: an answer of one provider is never taken for another's."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with trip_of(suite, tenant, provider) as trip, providing() as other:
        path = await trip.at_provider(await trip.out())
        if change == "removed":
            where = f"/api/v1/tenants/{tenant.id}/config/sso.oidc"
            assert (await suite.client.delete(where, headers=tenant.auth)).status_code == 204
        else:
            value = provider.config(clientId="another") if change == "other_client" else other.config()
            fine(await configure(suite, tenant, value))
        page = await trip.back(path)
        assert page.status_code == (404 if change == "removed" else 400)


async def test_single_sign_on_of_one_tenant_is_none_of_anothers(suite: Suite, provider: Provider) -> None:
    """Catalogue 89."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    other, third = await suite.tenant(), await tenant_with(suite, provider, jit={"enabled": True})
    provider.person = person_of(tenant)
    async with trip_of(suite, tenant, provider) as trip:
        path = await trip.at_provider(await trip.out())
        cookie = {"Cookie": f"{COOKIE}={trip.browser.client.cookies.get(COOKIE)}"}
    async with browser_of(suite, other) as browser:
        assert "single sign-on" not in (await browser.open()).text
        for asked in ("/login/sso/start", path):
            page = await browser.open(asked, headers=cookie)
            assert page.status_code == 404
            assert "There is no single sign-on here" in text_of(page)
    # Nor does a tenant with the very same provider take what was asked for another.
    async with browser_of(suite, third) as browser:
        assert (await browser.open(path, headers=cookie)).status_code == 400
    assert await identities(suite, third) == {}
    async with browser_at(suite, "nobody-of-that-name.mis.local") as browser:
        assert (await browser.open("/login/sso/start")).status_code == 404


def forged(**changes: Any) -> Any:
    """Return what makes an ID token with other claims; None takes one away."""

    def forge(provider: Provider) -> Any:
        def make(claims: dict[str, Any], token: dict[str, Any]) -> str:
            wanted = claims | {name: v(claims) if callable(v) else v for name, v in changes.items()}
            return provider.sign({name: value for name, value in wanted.items() if value is not None})

        return make

    return forge


def signed_by(key: Any, **header: Any) -> Any:
    return lambda provider: lambda claims, token: provider.sign(claims, key, **header)


def unsigned(provider: Provider) -> Any:
    return lambda claims, token: ".".join([*provider.sign(claims, alg="RS256").split(".")[:2], ""])


def by_public_key(provider: Provider) -> Any:
    """Sign with what everybody can read of the key, as a secret of HMAC."""

    def make(claims: dict[str, Any], token: dict[str, Any]) -> str:
        head = encode_segment(json.dumps({"alg": "HS256", "kid": provider.key.kid}).encode())
        said = f"{head}.{encode_segment(json.dumps(claims).encode())}"
        public = provider.key.as_pem(private=False)
        return f"{said}.{encode_segment(hmac.digest(public, said.encode(), 'sha256'))}"

    return make


def nested_header(provider: Provider) -> Any:
    return lambda claims, token: f"{encode_segment(b'[' * 8_000)}.e30.c2ln"


def nested_claims(provider: Provider) -> Any:
    head = {"alg": "RS256", "kid": provider.key.kid}
    return lambda claims, token: jws.serialize_compact(head, b"[" * 8_000, provider.key, ["RS256"])


HOUR = 3_600
TOKENS: dict[str, Any] = {
    "other_issuer": forged(iss="https://evil.example"),
    "issuer_with_slash": forged(iss=lambda claims: claims["iss"] + "/"),
    "no_issuer": forged(iss=None),
    "other_audience": forged(aud="another-client"),
    "one_of_two_audiences": forged(aud=["mis", "another-client"]),
    "other_authorized_party": forged(azp="another-client"),
    "no_audience": forged(aud=None),
    "expired": forged(exp=lambda claims: claims["iat"] - HOUR),
    "no_expiry": forged(exp=None),
    "from_the_future": forged(iat=lambda claims: claims["iat"] + HOUR),
    "no_issue_time": forged(iat=None),
    "other_nonce": forged(nonce="x"),
    "no_nonce": forged(nonce=None),
    "no_subject": forged(sub=None),
    "empty_subject": forged(sub=""),
    "number_as_subject": forged(sub=7),
    "long_subject": forged(sub="x" * 300),
    "nul_in_subject": forged(sub="a\x00b"),
    "other_access_token": forged(at_hash="x"),
    "foreign_key_of_that_name": signed_by(ec_key(kid="one"), alg="ES256"),
    "foreign_key": signed_by(ec_key(kid="two"), alg="ES256", kid="two"),
    "unsigned": unsigned,
    "public_key_as_secret": by_public_key,
    "no_token": lambda provider: lambda claims, token: None,
    "nonsense": lambda provider: lambda claims, token: "a.b.c",
    "huge": forged(padding="x" * 20_000),
    "nested_header": nested_header,
    "nested_claims": nested_claims,
}


@pytest.mark.parametrize("case", TOKENS)
async def test_an_id_token_that_is_not_the_providers_word_is_refused(
    suite: Suite, provider: Provider, case: str
) -> None:
    """Catalogue 88."""
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.forge = TOKENS[case](provider)
    async with trip_of(suite, tenant, provider) as trip:
        page = await trip.whole(person_of(tenant))
        assert page.status_code == 400, text_of(page)
        provider.forge = None
        assert (await trip.whole(person_of(tenant))).status_code == 303
    assert len(await identities(suite, tenant)) == 1


def test_what_a_provider_nests_without_end_is_no_json() -> None:
    with pytest.raises(ValueError, match="deeply"):
        Answer(200, b"[" * 100_000).json()


async def test_keys_that_were_changed_are_asked_for_anew_and_seldom(
    suite: Suite, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant))).status_code == 303
        provider.rotate()
        assert (await trip.whole(person_of(tenant))).status_code == 400
        assert provider.asked.count("/keys") == 1
        providers = suite.apps["auth"].state.providers
        later = providers._clock() + 31
        monkeypatch.setattr(providers, "_clock", lambda: later)
        for _ in range(3):
            assert (await trip.whole(person_of(tenant))).status_code == 303
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 2


async def test_claims_may_come_from_userinfo_of_the_same_subject(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider, jit={"enabled": True})
    provider.only_userinfo = True
    async with trip_of(suite, tenant, provider) as trip:
        assert (await trip.whole(person_of(tenant))).status_code == 303
        path = await trip.at_provider(await trip.out())
        # The token endpoint answers with one subject, userinfo with another's address.
        provider.forge = forged(sub="somebody-else")(provider)
        assert (await trip.back(path)).status_code == 403
    assert await reason_of(suite, tenant) == "email_missing"


async def test_a_provider_that_does_not_answer_is_left_alone_for_a_while(
    suite: Suite, provider: Provider
) -> None:
    tenant = await tenant_with(suite, provider)
    provider.published = {"issuer": "https://evil.example"}
    async with browser_of(suite, tenant) as browser:
        asked = [browser.open("/login/sso/start") for _ in range(5)]
        assert {page.status_code for page in await asyncio.gather(*asked)} == {502}
        assert (await browser.open("/login/sso/start")).status_code == 502
    assert provider.asked == ["/.well-known/openid-configuration"]


WRONG_DISCOVERY: dict[str, dict[str, Any]] = {
    "another_issuer": {"issuer": "https://evil.example"},
    "no_endpoint": {"token_endpoint": None},
    "plain_endpoint": {"authorization_endpoint": "http://example.com/authorize"},
    "script": {"authorization_endpoint": "javascript:alert(1)"},
    "keys_of_a_file": {"jwks_uri": "file:///etc/passwd"},
    "keys_in_no_shape": {"jwks_uri": "{issuer}/.well-known/openid-configuration"},
    "database": {"jwks_uri": "http://127.0.0.1:5432/"},
}


@pytest.mark.parametrize("case", WRONG_DISCOVERY)
async def test_a_provider_that_says_what_it_may_not_is_not_used(
    suite: Suite, provider: Provider, case: str
) -> None:
    tenant = await tenant_with(suite, provider)
    said = WRONG_DISCOVERY[case].items()
    provider.published = {
        name: value.replace("{issuer}", provider.issuer) if isinstance(value, str) else value
        for name, value in said
    }
    async with browser_of(suite, tenant) as browser:
        page = await browser.open("/login/sso/start")
        assert page.status_code == 502
        assert "Your identity provider does not answer" in text_of(page)


async def test_the_browser_is_sent_with_everything_that_protects_the_answer(
    suite: Suite, provider: Provider
) -> None:
    """Catalogue 88, 126: the address to come back to is the tenant's own, whatever the headers say."""
    tenant = await tenant_with(suite, provider, scopes=["openid", "email"])
    async with browser_of(suite, tenant) as browser:
        answer = await browser.open(
            "/login/sso/start",
            headers={
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "ftp",
                "Forwarded": "host=evil",
            },
        )
        sent = parameters_of(answer.headers["location"])
        assert sent["redirect_uri"] == f"http://{tenant.slug}.mis.local{CALLBACK}"
        assert sent["code_challenge_method"] == "S256"
        assert sent["response_type"] == "code"
        assert sent["scope"] == "openid email"
        assert sent["client_id"] == "mis"
        assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 43
        morsel = answer.headers["set-cookie"].lower()
        for word in ("secure", "httponly", "samesite=lax", "path=/"):
            assert word in morsel
        again = parameters_of((await browser.open("/login/sso/start")).headers["location"])
        for name in ("state", "nonce", "code_challenge"):
            assert again[name] != sent[name]
    async with browser_at(suite, "testserver") as browser:
        answer = await browser.open("/login/sso/start", params={"tenant": tenant.slug})
        sent = parameters_of(answer.headers["location"])
        assert sent["redirect_uri"] == f"http://testserver{CALLBACK}?tenant={tenant.slug}"


async def test_nothing_secret_of_an_attempt_is_stored(suite: Suite, provider: Provider) -> None:
    tenant = await tenant_with(suite, provider)
    async with trip_of(suite, tenant, provider) as trip:
        sent = parameters_of(await trip.out())
        cookie = trip.browser.client.cookies.get(COOKIE) or ""
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(SsoAttemptRow))).one()
    stored = repr({name: getattr(row, name) for name in row.__table__.columns.keys()})  # noqa: SIM118
    for secret in (sent["state"], sent["nonce"], sent["code_challenge"], cookie):
        assert secret not in stored
    assert row.expires_at - datetime.now().astimezone() <= timedelta(minutes=10)
