from typing import Any

import pytest

from mis_tenancy.gate import Gate
from mis_tenancy.resolution import Resolver
from mis_tenancy.tenant import TenantStatus
from mis_tenancy.tokens.verification import TokenVerifier
from tests.mis_tenancy import twins
from tests.mis_tenancy.twins import at_once, http_scope, tenant, token_of

ALPHA, BETA = tenant("alpha"), tenant("beta")
GONE = tenant("gone", TenantStatus.SUSPENDED)


def explain(*headers: tuple[str, str], token: str | None = None, query: bytes = b"") -> dict[str, Any]:
    directory, feed = twins.Directory([ALPHA, BETA, GONE]), twins.Feed()
    verifier = TokenVerifier(
        twins.key_ring(), issuer=twins.ISSUER, audience=twins.AUDIENCE, is_revoked=feed.is_revoked
    )
    resolver = Resolver(directory, twins.settings())
    gate = Gate(resolver=resolver, directory=directory, feed=feed, verifier=verifier)
    bearer = [] if token is None else [("Authorization", f"Bearer {token}")]
    return at_once(
        gate.explain(http_scope("/api/v1/tenants/resolve", headers=[*headers, *bearer], query=query))
    )


def test_a_members_own_sources_are_explained_with_his_tenants_id() -> None:
    own = str(ALPHA.id)
    assert explain(("X-Tenant-Slug", "alpha"), token=token_of(ALPHA)) == {
        "verdict": "accepted",
        "code": None,
        "sources": [
            {"kind": "header_slug", "value": "alpha", "tenantId": own},
            {"kind": "token", "value": own, "tenantId": own},
        ],
    }


def test_another_tenants_id_is_never_told() -> None:
    answer = explain(("X-Tenant-Slug", "beta"), ("Host", "alpha.mis.local"), token=token_of(ALPHA))
    assert (answer["verdict"], answer["code"]) == ("refused", "tenant_mismatch")
    assert [(source["value"], source["tenantId"]) for source in answer["sources"]] == [
        ("beta", None),
        ("alpha", str(ALPHA.id)),
    ]
    assert str(BETA.id) not in str(answer)


def test_a_stranger_is_told_no_id_and_sees_a_hidden_tenant_as_none() -> None:
    assert explain(("X-Tenant-Slug", "alpha")) == {
        "verdict": "accepted",
        "code": None,
        "sources": [{"kind": "header_slug", "value": "alpha", "tenantId": None}],
    }
    assert (
        explain(("X-Tenant-Slug", "gone"))["code"]
        == explain(("X-Tenant-Slug", "nope"))["code"]
        == "tenant_not_found"
    )


def test_an_operator_is_accepted_without_a_tenant() -> None:
    assert explain(token=token_of(None)) == {"verdict": "accepted", "code": None, "sources": []}


@pytest.mark.parametrize(
    ("headers", "token", "code"),
    [
        ([], None, "tenant_required"),
        ([], "nonsense", "token_invalid"),
        ([("X-Tenant-ID", "?"), ("X-Tenant-Slug", "alpha")], None, "tenant_malformed"),
        ([("X-Tenant-ID", str(ALPHA.id)), ("X-Tenant-Slug", "beta")], None, "tenant_conflict"),
        ([("X-Tenant-Slug", "alpha"), ("X-Tenant-Slug", "alpha")], None, "tenant_ambiguous"),
    ],
)
def test_a_refusal_is_reported_with_the_sources_that_could_be_read(
    headers: list[tuple[str, str]], token: str | None, code: str
) -> None:
    answer = explain(*headers, token=token)
    assert (answer["verdict"], answer["code"]) == ("refused", code)
    assert all(set(source) == {"kind", "value", "tenantId"} for source in answer["sources"])
    assert all(source["tenantId"] is None for source in answer["sources"])
