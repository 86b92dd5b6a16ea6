"""The resolution table of the contract, as an independent oracle over all combinations of sources."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mis_tenancy.errors import ProblemError, TenantAmbiguous, TenantConflict, TenantMalformed, TenantMismatch
from mis_tenancy.gate import Findings, Gate
from mis_tenancy.http import sources as source_reading
from mis_tenancy.http.sources import body_source, survey
from mis_tenancy.identifiers import new_id
from mis_tenancy.resolution import Resolver
from mis_tenancy.routes import Access
from mis_tenancy.tenant import Source, SourceKind, Tenant, TenantStatus
from mis_tenancy.tokens.verification import TokenVerifier
from tests.mis_tenancy import twins
from tests.mis_tenancy.twins import at_once, http_scope, tenant, token_of

SETTINGS = twins.settings(trusted_proxies=(ip_network("10.0.0.0/8"),))
ALPHA = tenant("alpha", domain="alpha.example")
BETA = tenant("beta", subdomain="beta-sub")
GONE = tenant("gone", TenantStatus.SUSPENDED, status_reason="abuse")
ENDING = tenant("ending", TenantStatus.PENDING_DELETION)
BUSY = tenant("busy", TenantStatus.MAINTENANCE)
NOBODY = tenant("nobody")
WORLD = {"alpha": ALPHA, "beta": BETA, "gone": GONE, "ending": ENDING, "busy": BUSY}
NAMES = [None, *WORLD, "nobody", "bad", "twice"]

TOKENS = [None, *WORLD, "operator", "invalid", "expired", "revoked"]
ACCESS = [Access.MEMBER, Access.OPERATOR_OR_MEMBER, Access.PUBLIC_TENANT]

REVOKED_SESSION = new_id()
FEED = twins.Feed({REVOKED_SESSION})


def bearer_of(token: str) -> str:
    """Return the text of a token; none is older than five minutes, however long a run of the tests takes."""
    return _bearer(token, int(time.time()) // 300)


@cache
def _bearer(token: str, _: int) -> str:
    match token:
        case "operator":
            return token_of(None)
        case "invalid":
            return "not.a.token"
        case "expired":
            return token_of(ALPHA, iat=1_000_000, exp=1_000_600)
        case "revoked":
            return token_of(ALPHA, sid=str(REVOKED_SESSION))
    return token_of(WORLD[token])


VERIFIER = TokenVerifier(
    twins.key_ring(), issuer=twins.ISSUER, audience=twins.AUDIENCE, is_revoked=FEED.is_revoked
)


@dataclass(frozen=True)
class Case:
    """What a request says: a tenant's name, `bad` or `twice` for each source."""

    access: Access
    token: str | None = None
    header_id: str | None = None
    header_slug: str | None = None
    host: str | None = None
    query_slug: str | None = None
    query_id: str | None = None

    @property
    def hints(self) -> dict[str, str]:
        spelled = {
            "id": self.header_id,
            "slug": self.header_slug,
            "host": self.host,
            "query": self.query_slug or self.query_id,
        }
        return {kind: name for kind, name in spelled.items() if name is not None}


def headers_of(case: Case) -> list[tuple[str, str | bytes]]:
    headers: list[tuple[str, str | bytes]] = [("Host", "mis.local")] if case.host is None else []
    if case.token is not None:
        headers.append(("Authorization", f"Bearer {bearer_of(case.token)}"))
    spellings: tuple[tuple[str, str | None, Callable[[str], str]], ...] = (
        ("X-Tenant-ID", case.header_id, lambda name: str(known(name).id)),
        ("X-Tenant-Slug", case.header_slug, lambda name: known(name).slug),
        ("Host", case.host, lambda name: f"{known(name).subdomain}.mis.local"),
    )
    for header, name, spell in spellings:
        if name == "bad":
            headers.append((header, "!"))
        elif name == "twice":
            headers += [(header, spell("alpha"))] * 2
        elif name is not None:
            headers.append((header, spell(name)))
    return headers


def query_of(case: Case) -> bytes:
    name = case.query_slug or case.query_id
    if name is None:
        return b"page=2"
    if name == "bad":
        return b"tenant="
    if name == "twice":
        return b"tenant=alpha&tenant=alpha"
    return f"a=1&tenant={known(name).slug if case.query_slug else known(name).id}".encode()


def known(name: str) -> Tenant:
    return WORLD.get(name, NOBODY)


def spellings(case: Case) -> set[str]:
    """The texts of the hints: an id, a slug and a subdomain are different texts."""
    kinds = case.hints | ({"query": "id"} if case.query_id else {})
    texts = set()
    for kind, name in case.hints.items():
        by_id = kind == "id" or (kind == "query" and kinds["query"] == "id" and not case.query_slug)
        texts.add(
            str(known(name).id) if by_id else known(name).subdomain if kind == "host" else known(name).slug
        )
    return texts


def expected(case: Case) -> str:
    """The contract's table, row by row: the first that applies."""
    hints, token = case.hints, case.token
    names = set(hints.values())
    strangers = case.access is Access.PUBLIC_TENANT
    owner = WORLD.get(token or "")
    hidden = {"gone", "ending", "nobody"}
    rows = [
        ("bad" in names, "tenant_malformed"),
        ("twice" in names, "tenant_ambiguous"),
        (not strangers and token == "invalid", "token_invalid"),
        (not strangers and token == "expired", "token_expired"),
        (not strangers and token == "revoked", "token_revoked"),
        (not strangers and token is None, "authentication_required"),
        (not strangers and owner is not None and names - {token} != set(), "tenant_mismatch"),
        (strangers and len(names) > 1, "tenant_conflict"),
        # Whether two spellings name one hidden tenant or none must not show.
        (strangers and len(spellings(case)) > 1 and names <= hidden, "tenant_conflict"),
        (strangers and not hints, "tenant_required"),
        (strangers and names <= hidden, "tenant_not_found"),
        (not strangers and token == "gone", "tenant_suspended"),
        (not strangers and token == "ending", "tenant_pending_deletion"),
        ((names if strangers else {token}) == {"busy"}, "tenant_unavailable"),
        (token == "operator" and case.access is Access.MEMBER, "act_as_required"),
    ]
    return next((code for applies, code in rows if applies), "accepted")


async def answer(case: Case) -> tuple[str, Findings]:
    directory = twins.Directory(WORLD.values())
    gate = Gate(resolver=Resolver(directory, SETTINGS), directory=directory, feed=FEED, verifier=VERIFIER)
    scope, findings = http_scope(headers=headers_of(case), query=query_of(case)), Findings()
    try:
        if case.access.is_for_strangers:
            await gate.admit_stranger(scope, case.access, findings)
        else:
            await gate.identify(scope, case.access, findings)
            await gate.validate(findings)
    except ProblemError as refusal:
        return refusal.code, findings
    return "accepted", findings


def check(case: Case) -> None:
    code, findings = at_once(answer(case))
    assert code == expected(case), case
    if code == "accepted" and case.token != "operator":
        owner = (case.token if not case.access.is_for_strangers else None) or next(iter(case.hints.values()))
        assert findings.tenant == WORLD[owner]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = st.sampled_from(NAMES)
    query = draw(st.sampled_from(["query_slug", "query_id"]))
    return Case(
        access=draw(st.sampled_from(ACCESS)),
        token=draw(st.sampled_from(TOKENS)),
        header_id=draw(names),
        header_slug=draw(names),
        host=draw(names),
        **{query: draw(names)},
    )


@given(cases())
@settings(max_examples=500, deadline=None)
def test_every_combination_of_sources_gets_the_first_refusal_of_the_table(case: Case) -> None:
    """Catalogue 1-9."""
    check(case)


def test_all_pairs_of_hints_under_every_token_and_access_follow_the_table() -> None:
    """Catalogue 1-9."""
    fields = ("header_id", "header_slug", "host", "query_slug", "query_id")
    for access, token, first, second in product(ACCESS, TOKENS, fields, fields):
        if first < second and {first, second} != {"query_slug", "query_id"}:
            for one, other in product(NAMES, NAMES):
                check(Case(access, token, **{first: one, second: other}))


def sources(
    *headers: tuple[str, str | bytes], query: bytes = b"", path: str = "/x", peer: str = "203.0.113.9"
) -> tuple[Source, ...]:
    scope = http_scope(path, headers=headers, query=query, client=(peer, 1))
    return survey(scope, SETTINGS).judged()


@pytest.mark.parametrize(
    "value",
    [
        "not-a-uuid",
        "",
        " ",
        "0191d2a0000070008000" + "ab" * 6,
        "{0191d2a0-0000-7000-8000-00000000abcd}",
        "1" * 9_000,
        "\x00",
        "é",
    ],
)
def test_a_tenant_id_that_is_not_a_uuid_is_malformed(value: str) -> None:
    """Catalogue 2."""
    with pytest.raises(TenantMalformed):
        sources(("X-Tenant-ID", value))


@pytest.mark.parametrize("values", ["{a}, {b}", "{a},{a}", "{a} ,{a}"])
def test_a_list_in_a_header_is_ambiguous(values: str) -> None:
    """Catalogue 10."""
    with pytest.raises(TenantAmbiguous):
        sources(("X-Tenant-ID", values.format(a=ALPHA.id, b=BETA.id)))


def test_a_repeated_header_is_ambiguous_whether_its_values_differ_or_not() -> None:
    """Catalogue 9."""
    for other in (ALPHA, BETA):
        with pytest.raises(TenantAmbiguous):
            sources(("X-Tenant-ID", str(ALPHA.id)), ("X-Tenant-ID", str(other.id)))


def test_a_malformed_value_is_named_before_an_ambiguous_one() -> None:
    with pytest.raises(TenantMalformed):
        sources(("X-Tenant-ID", f"{ALPHA.id},nonsense"))
    with pytest.raises(TenantMalformed) as refusal:
        sources(("X-Tenant-ID", f"{ALPHA.id},{ALPHA.id}"), ("X-Tenant-Slug", "?"))
    assert refusal.value.members == {"sources": ["header_slug"]}


def test_names_of_headers_are_equal_in_any_case_and_underscores_are_other_headers() -> None:
    """Catalogue 11."""
    assert sources(("x-TENANT-Id", str(ALPHA.id).upper())) == (Source(SourceKind.HEADER_ID, id=ALPHA.id),)
    assert sources(("X_Tenant_ID", str(ALPHA.id))) == ()


@pytest.mark.parametrize(
    "query", [b"tenant=alpha&tenant=alpha", b"tenant=alpha&tenant=beta", b"tenant=alpha&%74enant=beta"]
)
def test_a_repeated_query_parameter_is_ambiguous(query: bytes) -> None:
    """Catalogue 12."""
    with pytest.raises(TenantAmbiguous):
        sources(query=query)


@pytest.mark.parametrize(
    "query",
    [
        b"tenant=",
        b"tenant",
        b"tenant=%",
        b"tenant=%zz",
        b"tenant=a+b",
        b"tenant=%00abc",
        b"tenant=%C3%A4bc",
        b"tenant=alpha%0a",
        b"tenant=" + b"a" * 64,
        b"tenant=alpha=x",
    ],
)
def test_a_query_parameter_that_is_neither_slug_nor_uuid_is_malformed(query: bytes) -> None:
    """Catalogue 12."""
    with pytest.raises(TenantMalformed):
        sources(query=query)


@pytest.mark.parametrize(
    "query", [b"", b"tenant[]=a", b"Tenant=alpha", b"tenants=alpha", b"x=tenant", b"q=100%", b"%=1"]
)
def test_other_parameters_are_not_the_selector(query: bytes) -> None:
    """Catalogue 12."""
    assert sources(query=query) == ()


def test_a_parameter_that_is_the_applications_own_names_nobody() -> None:
    """Catalogue 13."""
    own = twins.settings(query_selector=False)
    for query in (b"tenant=alpha", b"tenant=alpha&tenant=beta", b"tenant=%00"):
        assert survey(http_scope("/x", query=query), own).judged() == ()


def test_a_query_names_a_tenant_by_slug_or_by_id_and_is_percent_decoded() -> None:
    assert sources(query=b"tenant=ALPH%41") == (Source(SourceKind.QUERY, slug="alpha"),)
    assert sources(query=f"tenant={ALPHA.id}".encode()) == (Source(SourceKind.QUERY, id=ALPHA.id),)


def test_a_forwarded_host_counts_only_from_a_trusted_proxy() -> None:
    """Catalogue 17."""
    forwarded = [("Host", "internal"), ("X-Forwarded-Host", "beta-sub.mis.local")]
    assert sources(*forwarded) == ()
    assert sources(*forwarded, peer="10.0.0.7") == (Source(SourceKind.SUBDOMAIN, slug="beta-sub"),)
    with pytest.raises(TenantAmbiguous):
        sources(("X-Forwarded-Host", "a.example, b.example"), peer="10.0.0.7")
    with pytest.raises(TenantMalformed):
        sources(("X-Forwarded-Host", "a b"), peer="10.0.0.7")


def test_a_host_and_a_forwarded_host_that_differ_are_two_sources() -> None:
    """Catalogue 17."""
    both = [("Host", "alpha.mis.local"), ("X-Forwarded-Host", "beta-sub.mis.local")]
    assert len(sources(*both, peer="10.0.0.7")) == 2
    same = [("Host", "alpha.mis.local"), ("X-Forwarded-Host", "ALPHA.mis.local:443")]
    assert len(sources(*same, peer="10.0.0.7")) == 1


def test_two_host_headers_are_ambiguous() -> None:
    with pytest.raises(TenantAmbiguous):
        sources(("Host", "mis.local"), ("Host", "mis.local"))


@pytest.mark.parametrize(
    "target", ["http://beta-sub.mis.local/x", "https://u@alpha.mis.local/x", "http:///x", "http://[/"]
)
def test_an_absolute_target_with_another_host_is_malformed(target: str) -> None:
    """Catalogue 18."""
    with pytest.raises(TenantMalformed):
        sources(("Host", "alpha.mis.local"), path=target)


def test_an_absolute_target_with_the_same_host_is_read_as_its_host() -> None:
    """Catalogue 18."""
    assert sources(("Host", "alpha.mis.local"), path="http://ALPHA.mis.local:80/x") == (
        Source(SourceKind.SUBDOMAIN, slug="alpha"),
    )


def test_a_body_names_a_tenant_by_slug_only() -> None:
    assert body_source("Alpha") == Source(SourceKind.BODY, slug="alpha")
    with pytest.raises(TenantMalformed):
        body_source("no slug")


def resolver(*tenants: Tenant) -> tuple[Resolver, twins.Directory]:
    directory = twins.Directory(tenants or WORLD.values())
    return Resolver(directory, SETTINGS), directory


def test_a_host_that_is_nobodys_domain_is_no_source_and_a_verified_one_is() -> None:
    """Catalogue 24."""
    subject, directory = resolver()
    found = sources(("Host", "alpha.example"))
    assert at_once(subject.settle(found)) == (Source(SourceKind.DOMAIN, id=ALPHA.id, host="alpha.example"),)
    assert at_once(subject.settle(sources(("Host", "other.example")))) == ()
    directory.replace(ALPHA, domain=None)
    assert at_once(subject.settle(found)) == ()


def test_a_tenants_own_domain_costs_no_lookup_and_anothers_is_a_mismatch() -> None:
    """Catalogue 24."""
    subject, directory = resolver()
    own = at_once(subject.settle(sources(("Host", "alpha.example")), ALPHA))
    subject.agree_with_principal(own, ALPHA)
    assert directory.lookups == []
    foreign = at_once(subject.settle(sources(("Host", "alpha.example")), BETA))
    with pytest.raises(TenantMismatch):
        subject.agree_with_principal(foreign, BETA)


def test_a_host_label_is_held_against_the_subdomain_and_a_slug_against_the_slug() -> None:
    subject, _ = resolver()
    subject.agree_with_principal(sources(("Host", "beta-sub.mis.local"), ("X-Tenant-Slug", "beta")), BETA)
    for wrong in (("Host", "beta.mis.local"), ("X-Tenant-Slug", "beta-sub")):
        with pytest.raises(TenantMismatch):
            subject.agree_with_principal(sources(wrong), BETA)


def test_a_mismatch_says_the_same_whatever_the_other_tenant_is() -> None:
    """Catalogue 6."""
    subject, directory = resolver()
    refusals = set()
    for other in (BETA, GONE, ENDING, NOBODY):
        with pytest.raises(TenantMismatch) as refusal:
            subject.agree_with_principal((Source(SourceKind.HEADER_ID, id=other.id),), ALPHA)
        refusals.add((str(refusal.value), str(refusal.value.members)))
    assert len(refusals) == 1
    assert directory.lookups == []


def hints(*pairs: tuple[str, Tenant]) -> list[Source]:
    kinds = {
        "id": lambda it: Source(SourceKind.HEADER_ID, id=it.id),
        "slug": lambda it: Source(SourceKind.HEADER_SLUG, slug=it.slug),
        "body": lambda it: Source(SourceKind.BODY, slug=it.slug),
        "host": lambda it: Source(SourceKind.SUBDOMAIN, slug=it.subdomain),
    }
    return [kinds[kind](it) for kind, it in pairs]


def outcome_of_login(sources: Iterable[Source]) -> str | None:
    try:
        found = at_once(resolver()[0].resolve_any(list(sources)))
    except TenantConflict:
        return "conflict"
    return found.slug if found is not None else None


def test_signing_in_finds_a_tenant_of_any_status_but_a_purged_one() -> None:
    assert outcome_of_login(hints(("id", GONE), ("body", GONE), ("host", GONE))) == "gone"
    purged = tenant("purged", TenantStatus.PURGED)
    assert at_once(resolver(purged)[0].resolve_any(hints(("id", purged)))) is None


def test_signing_in_with_hints_of_two_tenants_conflicts() -> None:
    assert outcome_of_login(hints(("slug", ALPHA), ("body", BETA))) == "conflict"
    assert outcome_of_login(hints(("id", ALPHA), ("body", BETA))) == "conflict"
    assert outcome_of_login(hints(("slug", GONE), ("body", NOBODY))) == "conflict"


def test_signing_in_does_not_tell_a_hidden_tenant_from_an_invented_one() -> None:
    """Catalogue 3-5."""
    for hidden in (GONE, ENDING):
        for kind, visible in product(("id", "host"), (ALPHA, NOBODY)):
            with_hidden = outcome_of_login(hints((kind, hidden), ("body", visible)))
            assert with_hidden == outcome_of_login(
                hints((kind, NOBODY), ("body", visible if visible is ALPHA else GONE))
            )


def test_a_conflict_names_the_kinds_of_sources_and_no_tenant() -> None:
    """Catalogue 7."""
    with pytest.raises(TenantConflict) as refusal:
        at_once(resolver()[0].resolve_hints(hints(("id", ALPHA), ("host", BETA))))
    assert refusal.value.members == {"sources": ["header_id", "subdomain"]}


def test_a_request_is_remembered_only_while_it_is_short() -> None:
    """A stranger could fill the memory with long ones, which nobody needs."""
    remembered = source_reading._read.cache_info().currsize
    for number in range(10):
        slug = f"{number}{'x' * 2000}"
        assert survey(http_scope(headers=[("X-Tenant-Slug", slug)]), SETTINGS).malformed == ("header_slug",)
    assert source_reading._read.cache_info().currsize == remembered
