"""`GET /tenants/resolve`: what a request's sources come to, told without telling of other tenants."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.answers import fine
from tests.suite import Suite, fresh_address
from tests.tenant_service.requests import TENANTS

RESOLVE = f"{TENANTS}/resolve"


@pytest.fixture
async def stranger(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    async with suite.client_at(fresh_address()) as client:
        yield client


async def test_a_member_learns_which_sources_name_the_own_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    answer = await suite.client.get(RESOLVE, headers=tenant.auth | {"X-Tenant-Slug": tenant.slug})
    resolved = fine(answer)
    assert (resolved["verdict"], resolved["code"]) == ("accepted", None)
    assert sorted((one["kind"], one["tenantId"]) for one in resolved["sources"]) == [
        ("header_slug", str(tenant.id)),
        ("token", str(tenant.id)),
    ]


async def test_a_contradicting_hint_is_reported_as_the_mismatch_it_is(suite: Suite) -> None:
    """Catalogue 6."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    answers = [
        fine(await suite.client.get(RESOLVE, headers=tenant.auth | {"X-Tenant-Slug": slug}))
        for slug in (other.slug, "nobody-of-that-name")
    ]
    assert [one["code"] for one in answers] == ["tenant_mismatch"] * 2
    assert str(other.id) not in str(answers)


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({}, "", "tenant_required"),
        ({"X-Tenant-ID": "nonsense"}, "", "tenant_malformed"),
        ({"X-Tenant-Slug": "nobody-of-that-name"}, "", "tenant_not_found"),
        ({}, "?tenant=aaa&tenant=aaa", "tenant_ambiguous"),
        ({"X-Tenant-Slug": "aaa-one"}, "?tenant=bbb-two", "tenant_conflict"),
        ({"Authorization": "Bearer nonsense"}, "", "token_invalid"),
    ],
)
async def test_a_refusal_is_reported_as_a_200(
    stranger: httpx.AsyncClient, headers: dict[str, str], query: str, code: str
) -> None:
    resolved = fine(await stranger.get(f"{RESOLVE}{query}", headers=headers))
    assert (resolved["verdict"], resolved["code"]) == ("refused", code)


async def test_a_stranger_is_told_no_id(suite: Suite, stranger: httpx.AsyncClient) -> None:
    tenant = await suite.tenant("custom")
    resolved = fine(await stranger.get(RESOLVE, headers={"X-Tenant-Slug": tenant.slug}))
    assert resolved == {
        "verdict": "accepted",
        "code": None,
        "sources": [{"kind": "header_slug", "value": tenant.slug, "tenantId": None}],
    }
