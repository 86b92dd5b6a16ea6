"""Deletion certificates: anybody verifies them, years later too, and nobody takes one for a token."""

import base64
import json
import os
from typing import Any

import jwt
import pytest

from mis_models.endings import CertificateKeyRow
from mis_tenancy.settings import MasterKeys
from tenant_service.endings.certificates import Certifier
from tests.answers import fine, refused
from tests.purging import delete_now, purge, purging
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS

JWKS = f"{TENANTS}/deletion-certificates/jwks.json"


async def certificate(suite: Suite, tenant_id: object) -> dict[str, Any]:
    path = f"{TENANTS}/{tenant_id}/deletion-certificate"
    document: dict[str, Any] = fine(await suite.client.get(path, headers=suite.operator))
    return document


async def verified(suite: Suite, text: str) -> dict[str, Any]:
    """Verify as the page in docs tells a reader to."""
    async with suite.client_at("10.99.6.1") as stranger:
        keys = jwt.PyJWKSet.from_dict(fine(await stranger.get(JWKS)))
    claims: dict[str, Any] = jwt.decode(text, keys[jwt.get_unverified_header(text)["kid"]], ["ES256"])
    return claims


async def test_whoever_holds_a_certificate_can_verify_it(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await purge(suite, tenant.id)
    document = await certificate(suite, tenant.id)
    claims = await verified(suite, document["certificate"])
    assert claims == document["claims"]
    assert jwt.get_unverified_header(document["certificate"])["typ"] == "deletion-certificate+jwt"
    assert claims["sub"] == str(tenant.id)
    assert claims["iss"] == suite.settings.public_url
    assert claims["requestedBy"]["kind"] == "operator"
    times = [claims[name] for name in ("dueAt", "startedAt", "completedAt")]
    assert times == sorted(times)
    assert claims["residue"] == {"rows": 0, "redisKeys": 0, "objects": 0}
    # What was to be forgotten is not in what proves that it is.
    assert tenant.slug not in json.dumps(document)


async def test_a_changed_certificate_does_not_verify(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await purge(suite, tenant.id)
    text = (await certificate(suite, tenant.id))["certificate"]
    head, payload, signature = text.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["deleted"]["objects"] += 1
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(jwt.InvalidSignatureError):
        await verified(suite, f"{head}.{forged}.{signature}")


async def test_a_certificate_is_no_token(suite: Suite) -> None:
    """Catalogue 65."""
    tenant = await suite.tenant("custom")
    await purge(suite, tenant.id)
    text = (await certificate(suite, tenant.id))["certificate"]
    answer = await suite.client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {text}"})
    refused(answer, 401, "token_invalid")
    tokens = fine(await suite.client.get("/.well-known/jwks.json"))["keys"]
    certificates = fine(await suite.client.get(JWKS))["keys"]
    assert not {key["kid"] for key in tokens} & {key["kid"] for key in certificates}
    assert all(key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in certificates)


async def test_a_certificate_outlives_the_master_key_it_was_signed_under(suite: Suite) -> None:
    """Catalogue 133."""
    old = await suite.tenant("custom")
    await purge(suite, old.id)
    new = await suite.tenant("custom")
    await delete_now(suite, new.id)
    successor = MasterKeys.parse(f"next:{base64.b64encode(os.urandom(32)).decode()}")
    certifier = Certifier(successor, suite.settings.public_url)
    async with purging(suite) as worker:
        worker._tombstones._certifier = certifier
        await worker.run(new.id)
    texts = [(await certificate(suite, tenant.id))["certificate"] for tenant in (old, new)]
    kids = [jwt.get_unverified_header(text)["kid"] for text in texts]
    assert kids[0] != kids[1] == certifier.kid
    for text, tenant in zip(texts, (old, new), strict=True):
        assert (await verified(suite, text))["sub"] == str(tenant.id)


def test_the_key_follows_from_the_master_key_alone() -> None:
    master = MasterKeys.parse(f"k:{base64.b64encode(bytes(32)).decode()}")
    other = MasterKeys.parse(f"k:{base64.b64encode(bytes(31) + b'1').decode()}")
    assert Certifier(master, "http://a").jwk == Certifier(master, "http://b").jwk
    assert Certifier(master, "http://a").kid != Certifier(other, "http://a").kid
    # Noted down once: a change of the derivation would orphan nothing, but should be on purpose.
    assert CertificateKeyRow.__tablename__ == "certificate_keys"
