"""Forged access tokens sent to the three services over real HTTP semantics, through the real middleware.

`tests/mis_tenancy/test_tokens.py` holds each forgery against the verifier. Here the services trust the key
that the forgeries are made with, and a good token of that key is served, so that each refusal is the
forgery's own.
"""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from mis_tenancy.tables import Base, PublicSigningKeyRow
from tests.answers import bearer, fine, refused
from tests.auth_service.requests import authority_of
from tests.database import connected, insert
from tests.integration.rig import flush
from tests.mis_tenancy.forged_tokens import TENANT, forgeries
from tests.mis_tenancy.twins import ISSUER, KEY, token_of
from tests.servers import TestServers
from tests.suite import Suite, fresh_address, running_suite

SERVED = ("/api/v1/auth/permissions", f"/api/v1/tenants/{TENANT.id}/usage", "/api/v1/users")
# White space around a field's value is none of it (RFC 9110 §5.5), so these two are a good token here.
GOOD_HERE = {"leading space", "trailing space"}


@pytest.fixture(scope="module")
async def trusting(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    """Yield a suite whose services know the forgers' key and tenant as good ones."""
    directory: Path = tmp_path_factory.mktemp("trusting")
    async with running_suite(test_servers, directory, public_url=ISSUER) as suite:
        await _copy_tenant(test_servers, suite)
        now = datetime.now(UTC)
        row = PublicSigningKeyRow(
            kid=KEY.kid,
            jwk=KEY.public_jwk,
            state="retired",
            created_at=now,
            retired_at=now,
            verifies_until=now + timedelta(hours=1),
        )
        async with authority_of(suite).transaction(None) as session:
            session.add(row)
        for service in suite.apps:
            await suite.tenancy(service).keys.refresh()
        yield suite
        async with authority_of(suite).transaction(None) as session:
            await session.execute(delete(PublicSigningKeyRow).where(PublicSigningKeyRow.kid == KEY.kid))


async def _copy_tenant(servers: TestServers, suite: Suite) -> None:
    """Make the forgers' tenant, whose id is theirs to choose, as an image of one that the API made."""
    made = await suite.tenant()
    slug = f"forged-{TENANT.id.hex[-12:]}"
    own = {"id": TENANT.id, "slug": slug, "subdomain": slug, "search": None}
    async with connected(servers.database().owner) as owner:
        found = await owner.fetchrow("select * from tenants where id = $1", made.id)
        await insert(owner, Base.metadata.tables["tenants"], dict(found) | own)
        found = await owner.fetchrow("select * from tenant_counters where tenant_id = $1", made.id)
        await insert(owner, Base.metadata.tables["tenant_counters"], dict(found) | {"tenant_id": TENANT.id})


async def ask(suite: Suite, path: str, token: str) -> httpx.Response:
    """Send the token as it is, byte by byte, from an address of its own."""
    sent: Any = [(b"Authorization", b"Bearer " + token.encode("utf-8", "surrogatepass"))]
    async with suite.client_at(fresh_address()) as client:
        return await client.get(path, headers=sent)


async def test_a_good_token_of_the_same_key_is_served_everywhere(trusting: Suite) -> None:
    """Catalogue 54, 61, 63: without this the refusals below would say nothing."""
    token = token_of(TENANT, scope="usage:read users:read")
    for path in SERVED:
        fine(await ask(trusting, path, token))


async def test_no_forged_token_opens_anything_and_none_is_an_error_of_ours(trusting: Suite) -> None:
    """Catalogue 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66."""
    forged = [(name, token) for name, token in forgeries() if name not in GOOD_HERE]
    assert len(forged) >= 150
    served: dict[str, tuple[int, str]] = {}
    for number, (name, token) in enumerate(forged):
        answer = await ask(trusting, SERVED[number % len(SERVED)], token)
        if (answer.status_code, answer.json()["code"]) != (401, "token_invalid"):
            served[name] = (answer.status_code, answer.text)
        assert served or answer.headers["www-authenticate"] == "Bearer"
    assert served == {}


@pytest.mark.deep
async def test_every_forged_token_is_refused_by_every_service(trusting: Suite) -> None:
    """Catalogue 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66."""
    for path in SERVED:
        for name, token in forgeries():
            if name in GOOD_HERE:
                continue
            assert (name, (await ask(trusting, path, token)).status_code) == (name, 401)


async def test_a_token_with_any_one_character_changed_is_another_token(trusting: Suite) -> None:
    """Catalogue 59, 71."""
    token, rng = token_of(TENANT, scope="users:read"), random.Random(59)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=~+/"
    for at in rng.sample(range(len(token)), 120):
        changed = token[:at] + rng.choice(alphabet.replace(token[at], "")) + token[at + 1 :]
        refused(await ask(trusting, "/api/v1/users", changed), 401, "token_invalid")
    for cut in (1, 4, 8, 43, 86):
        refused(await ask(trusting, "/api/v1/users", token[:-cut]), 401, "token_invalid")
        refused(await ask(trusting, "/api/v1/users", token[cut:]), 401, "token_invalid")
        refused(await ask(trusting, "/api/v1/users", token + token[:cut]), 401, "token_invalid")
    fine(await ask(trusting, "/api/v1/users", token))


async def test_a_token_of_another_deployment_is_invalid_here(trusting: Suite, suite: Suite) -> None:
    """Catalogue 66: the same database and the same keys, and still another issuer."""
    tenant = await suite.tenant()
    fine(await ask(suite, "/api/v1/users", tenant.owner_token))
    refused(await ask(trusting, "/api/v1/users", tenant.owner_token), 401, "token_invalid")


async def test_forged_tokens_leave_nothing_in_anybodys_log(trusting: Suite) -> None:
    """A token that does not verify proves no tenant, so no tenant's log, limit or usage is touched."""
    forged = [token for name, token in forgeries() if name.startswith(("alg", "no ", "iss"))]
    await flush(trusting)
    for token in forged:
        answer = await ask(trusting, "/api/v1/users", token)
        assert "ratelimit" not in answer.headers
        assert "x-ratelimit-limit" not in answer.headers
    for service in trusting.apps:
        assert trusting.tenancy(service).recorder.pending == 0


async def test_a_token_of_one_tenant_on_another_is_a_mismatch_whoever_has_an_account_in_both(
    suite: Suite,
) -> None:
    """Catalogue 68: membership elsewhere brings nothing; one signs in there."""
    one, two = await suite.tenant(), await suite.tenant()
    email = "both@people.example"
    there, here = await suite.user(one, email=email), await suite.user(two, email=email)
    headers = there.auth | {"X-Tenant-ID": str(two.id)}
    refused(await suite.client.get("/api/v1/users", headers=headers), 403, "tenant_mismatch")
    assert there.id != here.id
    shown = fine(await suite.client.get("/api/v1/users", headers=bearer(here.token)))
    assert str(there.id) not in str(shown)
