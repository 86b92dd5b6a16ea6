"""Passkeys: made within one sign-in, good in one tenant, refused for whatever is not right about a proof."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from mis_models.factors import ChallengeRow, PasskeyRow
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, fine, refused
from tests.auth_service.authenticator import (
    USER_PRESENT,
    USER_VERIFIED,
    Credential,
    Quirks,
    b64,
    copied,
    unb64,
)
from tests.auth_service.factors import as_user, with_app
from tests.auth_service.links import mails_of
from tests.auth_service.passkeys import PASSKEYS, Browser, browser_at, browser_of
from tests.auth_service.requests import AUTH, alter, audited, claims, me, set_status, sign_in
from tests.auth_service.sso import configure
from tests.auth_service.test_mfa import age_sign_in
from tests.suite import PASSWORD, Suite, TenantHandle


@pytest.fixture
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("premium")


@pytest.fixture
async def browser(suite: Suite, tenant: TenantHandle) -> Browser:
    """A browser at the tenant's subdomain, whose device holds a passkey of the owner."""
    browser = browser_of(suite, tenant)
    await browser.register(tenant.owner)
    return browser


async def test_a_passkey_signs_in_by_itself(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 87."""
    browser = browser_of(suite, tenant)
    asked = await browser.ask_to_register(tenant.owner)
    options = asked["publicKey"]
    assert options["rp"] == {"id": "mis.local", "name": f"Tenant {tenant.slug}"}
    assert options["user"]["name"] == tenant.owner_email
    assert unb64(options["user"]["id"]) != tenant.owner.id.bytes
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    made = browser.device.create(options)
    kept = fine(await browser.keep(tenant.owner, asked, made, name="My phone"), 201)
    assert (kept["name"], kept["rpId"], kept["lastUsedAt"]) == ("My phone", "mis.local", None)
    asked = await browser.ask_to_sign_in()
    assert asked["publicKey"]["userVerification"] == "required"
    assert asked["publicKey"]["allowCredentials"] == []
    signed_in = fine(await browser.prove(asked, browser.device.get(asked["publicKey"])))
    assert signed_in["user"]["id"] == str(tenant.owner.id)
    fine(await me(suite, signed_in["token"]))
    (listed,) = fine(await suite.client.get(PASSKEYS, headers=tenant.auth))
    assert listed["id"] == kept["id"]
    assert listed["lastUsedAt"] is not None
    actions = await audited(suite, tenant)
    assert [one for one in actions if one.startswith("passkey.")] == [
        *("passkey.registration_started", "passkey.added")
    ]
    assert "A passkey was added" in (await mails_of(suite, tenant))[-1].text


async def test_a_passkey_is_both_factors(suite: Suite, tenant: TenantHandle, browser: Browser) -> None:
    await with_app(suite, tenant, tenant.owner)
    refused(await sign_in(suite, tenant), 401, "mfa_required")
    fine(await browser.sign_in())


WRONG: dict[str, Quirks] = {
    "another origin": Quirks(origin="https://evil.example"),
    "another tenant's origin": Quirks(origin="http://beta.mis.local"),
    "an origin of another scheme": Quirks(origin="https://{slug}.mis.local"),
    "an origin of another port": Quirks(origin="http://{slug}.mis.local:8080"),
    "an origin that begins alike": Quirks(origin="http://{slug}.mis.local.evil.example"),
    "the base domain's origin": Quirks(origin="http://mis.local"),
    "another relying party": Quirks(rp_id="evil.example"),
    "the whole host as relying party": Quirks(rp_id="{slug}.mis.local"),
    "another challenge": Quirks(challenge=bytes(32)),
    "no challenge": Quirks(challenge=b""),
    "the other ceremony": Quirks(type="webauthn.swapped"),
    "nobody present": Quirks(flags=USER_VERIFIED),
    "nobody verified": Quirks(flags=USER_PRESENT),
    "a frame in another site": Quirks(cross_origin=True),
}


def at(tenant: TenantHandle, quirks: Quirks) -> Quirks:
    named = {
        name: value.format(slug=tenant.slug)
        for name in ("origin", "rp_id")
        if (value := getattr(quirks, name)) is not None
    }
    return Quirks(**{name: getattr(quirks, name) for name in Quirks.__slots__} | named)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_registration_with_anything_wrong_is_refused(
    suite: Suite, tenant: TenantHandle, wrong: str
) -> None:
    """Catalogue 87."""
    browser = browser_of(suite, tenant)
    asked = await browser.ask_to_register(tenant.owner)
    made = browser.device.create(asked["publicKey"], at(tenant, WRONG[wrong]))
    refused(await browser.keep(tenant.owner, asked, made), 400, "passkey_invalid")
    # The challenge is used up by it.
    right = browser.device.create(asked["publicKey"])
    refused(await browser.keep(tenant.owner, asked, right), 400, "passkey_invalid")
    assert fine(await suite.client.get(PASSKEYS, headers=tenant.auth)) == []
    assert "passkey.registration_failed" in await audited(suite, tenant)


PROOFS = WRONG | {
    "a handle of somebody else": Quirks(user_handle=os.urandom(32)),
    "no handle": Quirks(user_handle=b""),
    "another key's signature": Quirks(signature=bytes.fromhex("3006020101020101")),
    "no signature at all": Quirks(signature=b"\0"),
}


@pytest.mark.parametrize("wrong", PROOFS)
async def test_a_proof_with_anything_wrong_is_one_refusal(
    suite: Suite, tenant: TenantHandle, browser: Browser, wrong: str
) -> None:
    """Catalogue 87."""
    asked = await browser.ask_to_sign_in()
    proof = browser.device.get(asked["publicKey"], at(tenant, PROOFS[wrong]))
    refused(await browser.prove(asked, proof), 401, "invalid_credentials")
    again = browser.device.get(asked["publicKey"])
    refused(await browser.prove(asked, again), 401, "invalid_credentials")
    assert "login.passkey_failed" in await audited(suite, tenant)
    fine(await browser.sign_in())


async def test_a_challenge_is_answered_once_also_by_many_at_a_time(browser: Browser) -> None:
    """Catalogue 87."""
    asked = await browser.ask_to_sign_in()
    proofs = [browser.device.get(asked["publicKey"]) for _ in range(5)]
    answers = await asyncio.gather(*(browser.prove(asked, proof) for proof in proofs))
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 4]
    refused(await browser.prove(asked, browser.device.get(asked["publicKey"])), 401, "invalid_credentials")


async def test_a_challenge_runs_out(suite: Suite, tenant: TenantHandle, browser: Browser) -> None:
    """Catalogue 87."""
    to_sign_in, to_register = await browser.ask_to_sign_in(), await browser.ask_to_register(tenant.owner)
    past = datetime.now(UTC) - timedelta(seconds=1)
    every = update(ChallengeRow).where(ChallengeRow.token_hash != b"")
    await alter(suite, tenant, every.values(expires_at=past))
    proof = browser.device.get(to_sign_in["publicKey"])
    refused(await browser.prove(to_sign_in, proof), 401, "invalid_credentials")
    made = browser.device.create(to_register["publicKey"])
    refused(await browser.keep(tenant.owner, to_register, made), 400, "passkey_invalid")


async def test_a_challenge_of_one_purpose_serves_no_other(tenant: TenantHandle, browser: Browser) -> None:
    to_sign_in, to_register = await browser.ask_to_sign_in(), await browser.ask_to_register(tenant.owner)
    proof = browser.device.get(to_sign_in["publicKey"] | {"challenge": to_register["publicKey"]["challenge"]})
    refused(await browser.prove(to_register, proof), 401, "invalid_credentials")
    made = browser.device.create(
        to_register["publicKey"] | {"challenge": to_sign_in["publicKey"]["challenge"]}
    )
    refused(await browser.keep(tenant.owner, to_sign_in, made), 400, "passkey_invalid")


async def test_a_registration_ends_in_the_sign_in_that_began_it(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 87."""
    browser, asked_by = browser_of(suite, tenant), tenant.owner
    later = await suite.sign_in(tenant.slug, asked_by.email, PASSWORD)
    colleague = await suite.user(tenant)
    for other in (later, colleague):
        asked = await browser.ask_to_register(asked_by)
        made = browser.device.create(asked["publicKey"])
        refused(await browser.keep(other, asked, made), 400, "passkey_invalid")


async def test_a_challenge_of_another_tenant_is_nobodys(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    """Catalogue 87."""
    other = await suite.tenant("premium")
    theirs = browser_of(suite, other)
    asked = await theirs.ask_to_sign_in()
    # The browser shows the same passkeys at both, because both are below one base domain.
    proof = browser.device.get(asked["publicKey"])
    refused(await browser.prove(asked, proof), 401, "invalid_credentials")
    asked = await theirs.ask_to_register(other.owner)
    made = browser.device.create(asked["publicKey"])
    refused(await browser.keep(tenant.owner, asked, made), 400, "passkey_invalid")


async def test_a_passkey_of_one_tenant_never_signs_in_at_another(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    """Catalogue 87: one relying party's id, yet neither the credential nor the handle is known there."""
    other = await suite.tenant("premium")
    origin = f"http://{other.slug}.mis.local"
    theirs = browser_of(suite, other)
    await theirs.register(other.owner)
    own = browser.device.credentials[-1]
    asked = await theirs.ask_to_sign_in()
    proof = browser.device.get(asked["publicKey"], Quirks(origin=origin))
    refused(await theirs.prove(asked, proof), 401, "invalid_credentials")
    # Nor with the handle of somebody there, nor under the id of a credential there.
    their_credential = theirs.device.credentials[-1]
    asked = await theirs.ask_to_sign_in()
    handle = Quirks(origin=origin, user_handle=their_credential.user_handle)
    refused(
        await theirs.prove(asked, browser.device.get(asked["publicKey"], handle)), 401, "invalid_credentials"
    )
    asked = await theirs.ask_to_sign_in()
    forged = Credential(their_credential.id, own.key, own.rp_id, their_credential.user_handle)
    proof = browser.device.get(asked["publicKey"], Quirks(origin=origin), forged)
    refused(await theirs.prove(asked, proof), 401, "invalid_credentials")
    fine(await browser.sign_in())
    fine(await theirs.sign_in())


async def test_a_handle_is_random_the_persons_own_and_the_same_in_all_their_passkeys(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    await browser.register(tenant.owner)
    first, second = browser.device.credentials
    assert first.user_handle == second.user_handle
    colleague = await suite.user(tenant)
    await browser.register(colleague)
    assert browser.device.credentials[-1].user_handle != first.user_handle
    asked = await browser.ask_to_register(tenant.owner)
    known = [unb64(one["id"]) for one in asked["publicKey"]["excludeCredentials"]]
    assert known == [first.id, second.id]
    # A colleague's passkey with the owner's handle is neither's.
    asked = await browser.ask_to_sign_in()
    proof = browser.device.get(asked["publicKey"], Quirks(user_handle=first.user_handle))
    refused(await browser.prove(asked, proof), 401, "invalid_credentials")


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_counter_that_does_not_go_forward_is_a_copys(
    suite: Suite, tenant: TenantHandle, browser: Browser, count: int
) -> None:
    """Catalogue 87."""
    for _ in range(2):
        fine(await browser.sign_in())
    asked = await browser.ask_to_sign_in()
    proof = browser.device.get(asked["publicKey"], Quirks(sign_count=count))
    refused(await browser.prove(asked, proof), 401, "invalid_credentials")
    assert "login.passkey_copied" in await audited(suite, tenant)
    browser.device.credentials[-1].sign_count = 2
    fine(await browser.sign_in())


async def test_of_a_device_and_its_copy_one_is_found_out(browser: Browser) -> None:
    """Catalogue 87: with one counter for both, also when they sign at the same time."""
    original = browser.device.credentials[-1]
    asked = [await browser.ask_to_sign_in() for _ in range(2)]
    proofs = [
        browser.device.get(one["publicKey"], credential=device)
        for one, device in zip(asked, (original, copied(original)), strict=True)
    ]
    answers = await asyncio.gather(*map(browser.prove, asked, proofs))
    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_an_authenticator_that_does_not_count_signs_in_each_time(browser: Browser) -> None:
    for _ in range(3):
        asked = await browser.ask_to_sign_in()
        proof = browser.device.get(asked["publicKey"], Quirks(sign_count=0))
        fine(await browser.prove(asked, proof))


GARBAGE: dict[str, Any] = {
    "a format nobody knows": Quirks(fmt="evil"),
    "none with a statement": Quirks(statement={"sig": b"x"}),
    "packed without anything": Quirks(fmt="packed"),
    "packed with a bad signature": Quirks(fmt="packed", statement={"alg": -7, "sig": b"x"}),
    "packed with no certificate": Quirks(fmt="packed", statement={"alg": -7, "sig": b"x", "x5c": [b"x"]}),
    "u2f": Quirks(fmt="fido-u2f", statement={"sig": b"x", "x5c": [b"x"]}),
    "tpm": Quirks(fmt="tpm", statement={"ver": "2.0", "alg": -7, "sig": b"x", "x5c": [b"x"]}),
    "apple": Quirks(fmt="apple", statement={"x5c": [b"x"]}),
    "android": Quirks(fmt="android-key", statement={"alg": -7, "sig": b"x", "x5c": [b"x"]}),
    "safetynet": Quirks(fmt="android-safetynet", statement={"ver": "1", "response": b"a.b.c"}),
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_an_attestation_of_garbage_is_refused(suite: Suite, tenant: TenantHandle, garbage: str) -> None:
    """Catalogue 87."""
    browser = browser_of(suite, tenant)
    asked = await browser.ask_to_register(tenant.owner)
    made = browser.device.create(asked["publicKey"], GARBAGE[garbage])
    refused(await browser.keep(tenant.owner, asked, made), 400, "passkey_invalid")


BROKEN: tuple[Any, ...] = (
    {},
    {"id": 1},
    {"id": "AA", "rawId": "AA", "type": "public-key", "response": {}},
    {"id": "AA", "rawId": "AB", "type": "public-key", "response": {"clientDataJSON": "e30"}},
    {"response": None},
    {"a": {"b": [{}] * 100}},
)
# CBOR that is cut off, endless, nested without end, of the wrong kind, or promises more than there is.
BYTES = ("", "ff", "a1", "9f" * 200, "81" * 3_000, "bf", "5b7fffffffffffffff", "a363666d74", "f6", "00")


@pytest.mark.parametrize("credential", BROKEN)
async def test_what_is_no_credential_is_refused_like_a_wrong_one(
    tenant: TenantHandle, browser: Browser, credential: Any
) -> None:
    """Catalogue 87."""
    asked = await browser.ask_to_sign_in()
    refused(await browser.prove(asked, credential), 401, "invalid_credentials")
    asked = await browser.ask_to_register(tenant.owner)
    refused(await browser.keep(tenant.owner, asked, credential), 400, "passkey_invalid")


@pytest.mark.parametrize("raw", BYTES)
async def test_bytes_of_any_kind_in_a_credential_are_refused(
    tenant: TenantHandle, browser: Browser, raw: str
) -> None:
    """Catalogue 87."""
    sent = b64(bytes.fromhex(raw))
    for part in ("attestationObject", "clientDataJSON"):
        asked = await browser.ask_to_register(tenant.owner)
        made = browser.device.create(asked["publicKey"])
        made["response"][part] = sent
        refused(await browser.keep(tenant.owner, asked, made), 400, "passkey_invalid")
    for part in ("authenticatorData", "clientDataJSON", "signature", "userHandle"):
        asked = await browser.ask_to_sign_in()
        proof = browser.device.get(asked["publicKey"])
        proof["response"][part] = sent
        refused(await browser.prove(asked, proof), 401, "invalid_credentials")


async def test_a_token_of_any_wrong_kind_is_one_refusal(tenant: TenantHandle, browser: Browser) -> None:
    asked = await browser.ask_to_sign_in()
    good, proof = asked["challengeToken"], browser.device.get(asked["publicKey"])
    for token in ("", "x", good[:-1], good + "A", good.replace("mis_pl_", "mis_mf_"), tenant.owner_token):
        answer = await browser.prove({"challengeToken": token}, proof)
        refused(answer, 401, "invalid_credentials")
    fine(await browser.prove(asked, proof))


async def test_without_the_feature_no_path_leads_to_a_passkey(suite: Suite) -> None:
    """Catalogue 95."""
    tenant = await suite.tenant("basic")
    browser = browser_of(suite, tenant)
    answers = [
        await browser.post("/register/options", headers=tenant.auth),
        await browser.keep(tenant.owner, {"challengeToken": "x"}, {}),
        await browser.post("/login/options"),
        await suite.client.get(PASSKEYS, headers=tenant.auth),
        await suite.client.delete(f"{PASSKEYS}/{tenant.id}", headers=tenant.auth),
    ]
    for answer in answers:
        document = refused(answer, 403, "feature_not_available")
        assert (document["feature"], document["plan"]) == ("biometric_auth", "basic")


async def test_after_a_downgrade_a_passkey_signs_in_no_more(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    """Catalogue 95: nor does one whose challenge is from before."""
    asked = await browser.ask_to_sign_in()
    path = f"/api/v1/tenants/{tenant.id}/config"
    lost = {"configKey": "features.biometric_auth", "configValue": False}
    fine(await suite.client.post(path, json=lost, headers=tenant.auth))
    await suite.tenancy("auth").feed.poll()
    proof = browser.device.get(asked["publicKey"])
    refused(await browser.prove(asked, proof), 403, "feature_not_available")
    refused(await browser.post("/login/options"), 403, "feature_not_available")
    fine(await sign_in(suite, tenant))
    fine(await suite.client.delete(f"{path}/features.biometric_auth", headers=tenant.auth), 204)
    await suite.tenancy("auth").feed.poll()
    fine(await browser.sign_in())


async def test_at_an_address_one_is_told_where_to_go(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 87."""
    named = {"X-Tenant-Slug": tenant.slug}
    for host in ("127.0.0.1:8000", "[::1]:8000", "auth-service"):
        browser = browser_at(suite, host)
        for answer in (
            await browser.post("/register/options", headers=tenant.auth),
            await browser.post("/login/options", headers=named),
        ):
            document = refused(answer, 422, "passkey_origin_unsupported")
            assert document["url"] == f"http://{tenant.slug}.mis.local/login"


async def test_at_a_verified_domain_the_domain_is_the_id(suite: Suite) -> None:
    domain = "passkeys.home.example"
    tenant = await suite.tenant("premium", domain=domain)
    path = f"/api/v1/tenants/{tenant.id}/domain"
    suite.dns.publish(fine(await suite.client.get(path, headers=tenant.auth))["record"])
    fine(await suite.client.post(f"{path}/verify", headers=tenant.auth))
    await suite.tenancy("auth").feed.poll()
    browser = browser_at(suite, domain)
    assert (await browser.register(tenant.owner))["rpId"] == domain
    fine(await browser.sign_in())
    # At the base domain a browser would not even show it, and it proves nothing there.
    elsewhere = browser_of(suite, tenant)
    asked = await elsewhere.ask_to_sign_in()
    proof = browser.device.get(asked["publicKey"], Quirks(origin=elsewhere.device.origin, rp_id=domain))
    refused(await elsewhere.prove(asked, proof), 401, "invalid_credentials")


async def test_at_a_local_host_the_whole_host_is_the_id(suite: Suite, tenant: TenantHandle) -> None:
    host = f"{tenant.slug}.localhost:8000"
    browser = browser_at(suite, host)
    assert (await browser.register(tenant.owner))["rpId"] == f"{tenant.slug}.localhost"
    fine(await browser.sign_in())


async def test_registering_takes_a_fresh_proof(suite: Suite, tenant: TenantHandle) -> None:
    """A stolen access token must not be able to make what outlives it."""
    browser = browser_of(suite, tenant)
    await age_sign_in(suite, tenant, tenant.owner)
    refused(await browser.post("/register/options", headers=tenant.auth), 403, "proof_required")
    wrong = await browser.post("/register/options", {"password": "wrong"}, tenant.auth)
    refused(wrong, 401, "invalid_credentials")
    fine(await browser.post("/register/options", {"password": PASSWORD}, tenant.auth))


async def test_a_passkey_is_removed_by_its_owner_alone(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    (own,) = fine(await suite.client.get(PASSKEYS, headers=tenant.auth))
    colleague = await suite.user(tenant, "owner")
    assert fine(await suite.client.get(PASSKEYS, headers=colleague.auth)) == []
    for passkey_id in (own["id"], str(tenant.id), "no-id"):
        answer = await as_user(suite, "DELETE", f"{PASSKEYS}/{passkey_id}", colleague)
        refused(answer, 404, "passkey_not_found")
    fine(await as_user(suite, "DELETE", f"{PASSKEYS}/{own['id']}", tenant.owner), 204)
    refused(await browser.sign_in(), 401, "invalid_credentials")
    assert "passkey.removed" in await audited(suite, tenant)
    assert "A passkey was removed" in (await mails_of(suite, tenant))[-1].text


async def test_removing_one_takes_a_fresh_proof(suite: Suite, tenant: TenantHandle, browser: Browser) -> None:
    """A stolen access token must not be able to lock its owner out."""
    (own,) = fine(await suite.client.get(PASSKEYS, headers=tenant.auth))
    await age_sign_in(suite, tenant, tenant.owner)

    async def remove(**proof: str) -> httpx.Response:
        path = f"{PASSKEYS}/{own['id']}"
        return await suite.client.request("DELETE", path, json=proof or None, headers=tenant.auth)

    refused(await remove(), 403, "proof_required")
    refused(await remove(password="wrong"), 401, "invalid_credentials")
    assert fine(await suite.client.get(PASSKEYS, headers=tenant.auth)) == [own]
    fine(await remove(password=PASSWORD), 204)
    assert fine(await suite.client.get(PASSKEYS, headers=tenant.auth)) == []


async def test_the_same_credential_is_registered_once(tenant: TenantHandle, browser: Browser) -> None:
    asked = [await browser.ask_to_register(tenant.owner) for _ in range(2)]
    made = browser.device.create(asked[0]["publicKey"])
    fine(await browser.keep(tenant.owner, asked[0], made), 201)
    told = json.loads(unb64(made["response"]["clientDataJSON"])) | {
        "challenge": asked[1]["publicKey"]["challenge"]
    }
    made["response"]["clientDataJSON"] = b64(json.dumps(told).encode())
    refused(await browser.keep(tenant.owner, asked[1], made), 409, "passkey_taken")


async def test_an_account_has_so_many_and_no_more_also_in_parallel(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    async with suite.database.transaction(tenant.id) as session:
        (own,) = (await session.scalars(select(PasskeyRow))).all()
        columns = {one.name: getattr(own, one.name) for one in PasskeyRow.__table__.columns}
        for _ in range(18):
            session.add(PasskeyRow(**columns | {"id": new_id(), "credential_id": os.urandom(8)}))
    asked = [await browser.ask_to_register(tenant.owner) for _ in range(3)]
    made = [browser.device.create(one["publicKey"]) for one in asked]
    answers = await asyncio.gather(
        *(browser.keep(tenant.owner, *pair) for pair in zip(asked, made, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    refused(await browser.post("/register/options", headers=tenant.auth), 409, "passkey_limit")


async def test_somebody_who_was_disabled_stays_out(suite: Suite, tenant: TenantHandle) -> None:
    browser, member = browser_of(suite, tenant), await suite.user(tenant)
    await browser.register(member)
    path = f"/api/v1/users/{member.id}"
    fine(await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth))
    refused(await browser.sign_in(), 401, "invalid_credentials")
    fine(await suite.client.delete(path, headers=tenant.auth), 204)
    refused(await browser.sign_in(), 401, "invalid_credentials")


async def test_in_an_ending_tenant_a_challenge_from_before_lets_the_owner_alone_in(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    member, theirs = await suite.user(tenant), browser_of(suite, tenant)
    await theirs.register(member)
    asked, asked_by_member = await browser.ask_to_sign_in(), await theirs.ask_to_sign_in()
    await set_status(suite, tenant, "pending_deletion", raise_epoch=True)
    signed_in = fine(await browser.prove(asked, browser.device.get(asked["publicKey"])))
    assert claims(signed_in["token"])["restricted"] is True
    proof = theirs.device.get(asked_by_member["publicKey"])
    refused(await theirs.prove(asked_by_member, proof), 403, "tenant_pending_deletion")
    # To a stranger the tenant is not there any more.
    refused(await browser.post("/login/options"), 404, "tenant_not_found")


async def test_where_single_sign_on_is_enforced_owners_alone_use_passkeys(
    suite: Suite, tenant: TenantHandle, browser: Browser
) -> None:
    member, theirs = await suite.user(tenant), browser_of(suite, tenant)
    await theirs.register(member)
    provider = {"issuer": "https://idp.example", "clientId": "mis", "clientSecret": "s", "enforce": True}
    fine(await configure(suite, tenant, provider))
    refused(await theirs.sign_in(), 403, "sso_required")
    assert "login.sso_required" in await audited(suite, tenant)
    fine(await browser.sign_in())


async def test_an_operator_who_visits_makes_no_passkeys(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 76."""
    visit = {"tenantId": str(tenant.id), "reason": "A test visits."}
    token = fine(await suite.client.post(f"{AUTH}/act-as", json=visit, headers=suite.operator))["token"]
    browser = browser_of(suite, tenant)
    refused(await browser.post("/register/options", headers=bearer(token)), 403, "permission_denied")
    refused(await suite.client.get(PASSKEYS, headers=bearer(token)), 403, "permission_denied")
    refused(await suite.client.get(PASSKEYS, headers=suite.operator), 403, "permission_denied")
