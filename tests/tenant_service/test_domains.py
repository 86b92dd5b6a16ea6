"""Domains of tenants' own: claimed by anybody, resolving only for who has proven them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mis_models.work import OutboxRow
from mis_tenancy.settings import SettingsError
from tenant_service.domains.names import parse_domain
from tenant_service.domains.proofs import Proofs
from tests.answers import eventually, fine, refused
from tests.integration.wire import exchange, request, served
from tests.suite import Suite, TenantHandle, fresh_address
from tests.tenant_service.requests import TENANTS, create, new_slug, patch


def new_domain() -> str:
    return f"{new_slug()}.example"


async def domain_of(suite: Suite, tenant: TenantHandle) -> dict[str, Any]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/domain", headers=tenant.auth)
    document: dict[str, Any] = fine(answer)
    return document


async def verify(suite: Suite, tenant: TenantHandle) -> httpx.Response:
    return await suite.client.post(f"{TENANTS}/{tenant.id}/domain/verify", headers=tenant.auth)


async def domain_changes(suite: Suite, tenant: TenantHandle) -> list[Any]:
    """Return what the tenant's audit log says of its domain's proofs, newest first."""
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs?kind=change", headers=tenant.auth)
    return [row["changes"] for row in fine(answer) if row["action"].startswith("domain.")]


async def with_record(suite: Suite, domain: str) -> TenantHandle:
    """Return a tenant that claims the domain and has published what proves it."""
    tenant = await suite.tenant("custom", domain=domain)
    suite.dns.publish((await domain_of(suite, tenant))["record"])
    return tenant


async def with_domain(suite: Suite, domain: str) -> TenantHandle:
    """Return a tenant that has proven the domain."""
    tenant = await with_record(suite, domain)
    fine(await verify(suite, tenant))
    return tenant


def asking(suite: Suite, host: str, **headers: str) -> Callable[[], Awaitable[httpx.Response]]:
    """Return what asks the user service, as a stranger at `host`, for something of the host's tenant."""

    async def ask() -> httpx.Response:
        async with suite.client_at(fresh_address(), base_url="http://testserver") as client:
            return await client.get("/api/v1/auth/password-policy", headers={"Host": host} | headers)

    return ask


def is_served(answer: httpx.Response) -> bool:
    return answer.status_code == 200


def is_nobodys(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and bool(answer.json()["code"] == "tenant_required")


async def tenant_at(suite: Suite, tenant: TenantHandle, host: str) -> str:
    """Return how a request of the tenant's at `host` ends: only its own domain agrees with its token."""
    async with suite.client_at(fresh_address()) as client:
        answer = await client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth | {"Host": host})
    return "own" if answer.status_code == 200 else str(answer.json()["code"])


async def test_a_claim_shows_the_record_that_would_prove_it_and_resolves_nothing(suite: Suite) -> None:
    """Catalogue 24."""
    domain = new_domain()
    tenant = await suite.tenant("custom", domain=domain)
    state = await domain_of(suite, tenant)
    assert (state["domain"], state["status"], state["verifiedAt"]) == (domain, "pending", None)
    assert state["record"]["type"] == "TXT"
    assert state["record"]["name"] == f"_mis-verification.{domain}"
    assert len(state["record"]["value"]) == 32
    assert is_nobodys(await asking(suite, domain)())


async def test_a_tenant_without_a_domain_has_nothing_to_prove(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    state = await domain_of(suite, tenant)
    assert state["status"] == "none"
    assert {value for name, value in state.items() if name != "status"} == {None}
    refused(await verify(suite, tenant), 409, "domain_missing")


async def test_a_proven_domain_resolves_in_every_service_within_a_second(suite: Suite) -> None:
    domain = new_domain()
    tenant = await with_record(suite, domain)
    # Every service remembers that the host is nobody's, and has to hear better.
    assert is_nobodys(await asking(suite, domain)())
    answer = await verify(suite, tenant)
    state = fine(answer)
    assert (state["status"], state["problem"]) == ("verified", None)
    assert state["verifiedAt"].endswith("Z")
    assert answer.headers["etag"] == '"2"'
    await eventually(asking(suite, domain), is_served)
    assert await tenant_at(suite, tenant, domain) == "own"
    assert await domain_changes(suite, tenant) == [{"domain_verified": {"old": None, "new": domain}}]
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        told = (await session.scalars(select(OutboxRow).where(OutboxRow.type == "tenant.updated"))).all()
    assert [event.data for event in told] == [{"changed": ["domain"], "domainVerified": True}]
    # Again is no other state.
    assert fine(await verify(suite, tenant))["verifiedAt"] == state["verifiedAt"]


async def test_many_may_claim_a_domain_and_one_may_prove_it(suite: Suite) -> None:
    """Nobody can keep another from his own domain by claiming it. Catalogue 24."""
    domain = new_domain()
    squatter = await suite.tenant("custom", domain=domain)
    owner = await with_record(suite, domain)
    # The record of one claim proves no other one.
    problem = refused(await verify(suite, squatter), 409, "domain_unproven")
    assert problem["record"] == (await domain_of(suite, squatter))["record"]
    fine(await verify(suite, owner))
    suite.dns.publish(problem["record"])
    refused(await verify(suite, squatter), 409, "domain_taken")
    refused(await create(suite, domain=f"{domain.upper()}."), 409, "domain_taken")
    other = await suite.tenant("custom")
    refused(await patch(suite, other, other.auth, domain=domain), 409, "domain_taken")
    assert await tenant_at(suite, owner, domain) == "own"


async def test_of_two_who_prove_a_domain_at_once_exactly_one_gets_it(suite: Suite) -> None:
    for _ in range(3):
        domain = new_domain()
        tenants = [await with_record(suite, domain) for _ in range(2)]
        answers = await asyncio.gather(*(verify(suite, tenant) for tenant in tenants))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        refused(next(answer for answer in answers if answer.status_code == 409), 409, "domain_taken")


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ("empty", "domain_unproven"),
        ("without_text", "domain_unproven"),
        ("other_text", "domain_unproven"),
        ("longer_text", "domain_unproven"),
        ("alias", "domain_unproven"),
        ("broken", "domain_lookup_failed"),
    ],
)
async def test_what_is_no_proof_is_refused_and_says_what_to_do(suite: Suite, zone: str, code: str) -> None:
    """Catalogue 24: a name that is an alias hands the proof to whoever owns the alias's target."""
    tenant = await suite.tenant("custom", domain=new_domain())
    record = (await domain_of(suite, tenant))["record"]
    name, dns = record["name"], suite.dns
    if zone == "without_text":
        dns.present.add(name)
    elif zone == "other_text":
        dns.texts[name] = ["v=spf1 -all", record["value"][:-1]]
    elif zone == "longer_text":
        dns.texts[name] = [f"{record['value']} and more"]
    elif zone == "alias":
        dns.aliases[name] = target = f"elsewhere.{new_slug()}.example"
        dns.texts[target] = [record["value"]]
    elif zone == "broken":
        dns.broken.add(name)
    refused(await verify(suite, tenant), 409, code)
    assert (await domain_of(suite, tenant))["status"] == "pending"


async def test_a_proof_may_stand_beside_other_texts(suite: Suite) -> None:
    tenant = await suite.tenant("custom", domain=new_domain())
    record = (await domain_of(suite, tenant))["record"]
    suite.dns.texts[record["name"]] = ["v=spf1 -all", record["value"]]
    fine(await verify(suite, tenant))


async def test_a_domain_that_is_given_up_stops_at_once_and_its_old_proof_is_void(suite: Suite) -> None:
    """Catalogue 24: what the old record proved, a dangling one included, proves no new claim."""
    domain = new_domain()
    tenant = await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    before = (await domain_of(suite, tenant))["record"]["value"]
    fine(await patch(suite, tenant, tenant.auth, domain=None))
    await eventually(asking(suite, domain), is_nobodys)
    assert (await domain_of(suite, tenant))["status"] == "none"
    fine(await patch(suite, tenant, tenant.auth, domain=domain))
    state = await domain_of(suite, tenant)
    assert state["status"] == "pending"
    assert state["record"]["value"] != before
    refused(await verify(suite, tenant), 409, "domain_unproven")


async def test_a_domain_that_moves_is_never_served_from_the_memory_of_its_old_tenant(suite: Suite) -> None:
    """Catalogue 23, 24."""
    domain = new_domain()
    first = await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    assert await tenant_at(suite, first, domain) == "own"
    fine(await patch(suite, first, first.auth, domain=new_domain()))
    second = await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    assert await tenant_at(suite, first, domain) == "tenant_mismatch"
    assert await tenant_at(suite, second, domain) == "own"


@pytest.mark.parametrize("spelled", ["{}", "{}.", "{}:8443", "{}.:443"])
async def test_a_proven_domain_is_one_name_however_a_host_spells_it(suite: Suite, spelled: str) -> None:
    """Catalogue 15."""
    domain = new_domain()
    tenant = await with_domain(suite, domain)
    for host in (spelled.format(domain), spelled.format(domain.upper())):
        await eventually(asking(suite, host), is_served)
        assert await tenant_at(suite, tenant, host) == "own"


async def test_names_around_a_proven_domain_are_nobodys(suite: Suite) -> None:
    """Catalogue 14: neither what ends like it, nor what lies below it or goes on after it."""
    domain = new_domain()
    await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    for host in (f"www.{domain}", f"evil-{domain}", f"{domain}.evil.example", domain.partition(".")[2]):
        assert is_nobodys(await asking(suite, host)()), host
    for host in (f"{domain}/../x", f"{domain}#x", f"{domain}:80@evil.example", f"{domain} x", f"x@{domain}"):
        refused(await asking(suite, host)(), 400, "tenant_malformed")


async def test_a_host_that_carries_a_path_is_malformed_and_opens_nothing(suite: Suite) -> None:
    """Catalogue 16."""
    domain = new_domain()
    tenant = await with_domain(suite, domain)
    host = {"Host": f"{domain}/api/v1/auth/login?"}
    async with suite.client_at(fresh_address()) as client:
        for auth in ({}, tenant.auth):
            answer = await client.get(f"{TENANTS}/{tenant.id}", headers=host | auth)
            refused(answer, 400, "tenant_malformed")


async def test_a_domain_in_the_requests_target_is_not_its_host(suite: Suite) -> None:
    """Catalogue 18."""
    domain = new_domain()
    await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    path = "/api/v1/auth/password-policy"
    async with served(suite) as port:
        assert (await exchange(port, request(path, host=domain))).status == 200
        for host in ("testserver", f"other-{domain}"):
            assert (await exchange(port, request(f"http://{domain}{path}", host=host))).status == 400


async def test_slow_name_servers_hold_up_only_who_asks_them(suite: Suite) -> None:
    slow, other = await with_record(suite, new_domain()), await with_record(suite, new_domain())
    name = (await domain_of(suite, slow))["record"]["name"]
    suite.dns.silent.add(name)
    waiting = [asyncio.create_task(verify(suite, slow)) for _ in range(20)]
    try:
        async with asyncio.timeout(60):
            while name not in suite.dns.asked:  # noqa: ASYNC110  # the server belongs to another task
                await asyncio.sleep(0.01)
        fine(await verify(suite, other))
        assert not any(task.done() for task in waiting)
    finally:
        suite.dns.silent.discard(name)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_forwarded_domain_counts_from_trusted_proxies_only(suite: Suite) -> None:
    """Catalogue 17."""
    domain = new_domain()
    await with_domain(suite, domain)
    await eventually(asking(suite, domain), is_served)
    forwarded = {"X-Forwarded-Host": domain}
    assert is_nobodys(await asking(suite, "testserver", **forwarded)())


async def test_an_international_domain_is_its_ascii_form(suite: Suite) -> None:
    """Catalogue 15: a host that looks alike in another script is another host."""
    mark = new_slug()
    tenant = await suite.tenant("custom", domain=f"Bücher-{mark}。Example")
    ascii_form = (await domain_of(suite, tenant))["domain"]
    assert ascii_form.startswith("xn--bcher-")
    assert ascii_form.endswith(".example")
    suite.dns.publish((await domain_of(suite, tenant))["record"])
    fine(await verify(suite, tenant))
    await eventually(asking(suite, ascii_form), is_served)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Example.ORG.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a.b.c.example", "a.b.c.example"),
    ],
)
def test_a_domain_has_one_spelling(text: str, domain: str) -> None:
    assert parse_domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        *("localhost", "com", "10.0.0.1", "0x7f.1", "[::1]", "2001:db8::1", "a.example:80", "*.example.org"),
        *(
            "a_b.example",
            "-a.example",
            "a..example",
            "example.org/x",
            "https://example.org",
            "user@a.example",
        ),
        *("xn--a.example", "xn--999999999.example", "bü cher.example", "a\u200d.example", "\ud800.example"),
        f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 60}.example",
        f"{'a.' * 117}xyz",
    ],
)
def test_what_is_no_domain_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # what is wrong with it is nobody's to tell apart
        parse_domain(text)


@pytest.mark.parametrize("domain", ["co.uk", "github.io", "CO.UK", "xn--55qx5d.cn"])
async def test_a_domain_below_which_anybody_has_names_is_no_tenants(suite: Suite, domain: str) -> None:
    tenant = await suite.tenant("custom")
    problem = refused(await patch(suite, tenant, tenant.auth, domain=domain), 422, "domain_refused")
    assert problem["errors"][0]["field"] == "domain"
    assert "below" in problem["detail"]
    body = {"name": "Taken", "slug": new_slug("d"), "domain": domain}
    refused(await suite.client.post(TENANTS, json=body, headers=suite.operator), 422, "domain_refused")
    fine(await patch(suite, tenant, tenant.auth, domain=f"t-{tenant.slug}.{domain}"))


@pytest.mark.parametrize("domain", ["mis.local", "a.mis.local", "a.b.mis.local", "x.localhost"])
async def test_the_platforms_own_domains_are_no_tenants(suite: Suite, domain: str) -> None:
    refused(await create(suite, domain=domain), 422, "domain_refused")


@pytest.mark.parametrize("server", ["nonsense", "127.0.0.1:dns", "[::1", "127.0.0.1:99999"])
def test_a_resolver_that_is_none_is_refused_at_the_start(server: str) -> None:
    with pytest.raises(SettingsError, match="MIS_DNS_SERVERS"):
        Proofs((server,))


async def ask(suite: Suite, domain: str) -> httpx.Response:
    async with suite.client_at(fresh_address()) as client:
        return await client.get(f"{TENANTS}/domains/ask", params={"domain": domain})


async def test_a_gateway_is_told_which_hosts_are_served(suite: Suite) -> None:
    domain = new_domain()
    tenant = await with_domain(suite, domain)
    for host in (domain, domain.upper(), f"{tenant.slug}.mis.local", f"{tenant.slug}.localhost"):
        assert fine(await ask(suite, host)) == {"domain": host.lower()}
    claimed = new_domain()
    await suite.tenant("custom", domain=claimed)
    for host in (
        *(claimed, f"www.{domain}", "nobody-at-all.mis.local", "mis.local", "localhost", "www.mis.local"),
        *(f"a.{tenant.slug}.mis.local", f"{domain}:443", "127.0.0.1", "[::1]", "xn--a.mis.local"),
        *("bücher.example", "a b.example", f"{domain}/", "-.mis.local", "'; drop table tenants --"),
    ):
        refused(await ask(suite, host), 404, "domain_unknown")
    for wrong in ({}, {"domain": ""}, {"domain": "a" * 301}):
        async with suite.client_at(fresh_address()) as client:
            refused(await client.get(f"{TENANTS}/domains/ask", params=wrong), 422, "validation_failed")


async def test_a_gateway_is_not_told_of_hosts_whose_tenant_is_closed(suite: Suite) -> None:
    """Catalogue 4, 5: to strangers such a tenant does not exist."""
    domain = new_domain()
    tenant = await with_domain(suite, domain)
    assert is_served(await ask(suite, domain))
    body = {"reason": "A test."}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/suspend", json=body, headers=suite.operator))
    for host in (domain, f"{tenant.slug}.mis.local"):
        refused(await ask(suite, host), 404, "domain_unknown")
    # It stays the tenant's while it is closed.
    refused(await create(suite, domain=domain), 409, "domain_taken")


async def test_strangers_may_not_ask_without_end(suite: Suite) -> None:
    async with suite.client_at(fresh_address()) as client:
        answers = [await client.get(f"{TENANTS}/domains/ask?domain=a.example") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {404, 429}
