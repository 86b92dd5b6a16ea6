"""Proven domains are checked again: what is gone is warned of, then no more the tenant's."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from mis_jobs.jobs import Job
from mis_models.domains import DomainClaimRow
from mis_tenancy.database import Database
from tenant_service.domains.jobs import CHECKS, PENDING, DomainRounds
from tenant_service.domains.pending import FRESH, PendingClaims
from tenant_service.domains.proofs import Proofs
from tenant_service.domains.rechecks import GRACE, Rechecks
from tenant_service.domains.repository import fresh_claims
from tests.answers import eventually, fine, refused
from tests.database import earlier
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, patch
from tests.tenant_service.test_domains import (
    asking,
    domain_changes,
    domain_of,
    is_nobodys,
    is_served,
    new_domain,
    tenant_at,
    verify,
    with_domain,
    with_record,
)


def application(suite: Suite) -> Database:
    return suite.tenancy("tenant").database


def rechecks(suite: Suite) -> Rechecks:
    return Rechecks(application(suite), Proofs((suite.dns.address,)))


def pending(suite: Suite) -> PendingClaims:
    return PendingClaims(application(suite), Proofs((suite.dns.address,)))


async def set_back(suite: Suite, tenant: TenantHandle, column: str, by: timedelta) -> None:
    """Let a moment of the tenant's claim be earlier."""
    moment = getattr(DomainClaimRow, column)
    async with application(suite).transaction(tenant.id) as session:
        await session.execute(update(DomainClaimRow).values({column: earlier(moment, by)}))


async def alerts_of(suite: Suite, tenant: TenantHandle) -> list[tuple[str, str]]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", headers=tenant.auth)
    return [(alert["kind"], alert["status"]) for alert in fine(answer)]


async def found_without_record(suite: Suite) -> tuple[TenantHandle, dict[str, Any]]:
    """Return a tenant whose proven domain has been found without its record, and that record."""
    tenant = await with_domain(suite, new_domain())
    record = (await domain_of(suite, tenant))["record"]
    del suite.dns.texts[record["name"]]
    await rechecks(suite).check(tenant.id)
    return tenant, record


async def test_a_record_that_is_gone_is_warned_of_while_the_domain_still_resolves(suite: Suite) -> None:
    """Catalogue 24."""
    tenant, _ = await found_without_record(suite)
    state = await domain_of(suite, tenant)
    assert (state["status"], state["problem"]) == ("failing", "record_missing")
    assert state["lapsesAt"] is not None
    assert await alerts_of(suite, tenant) == [("security", "open")]
    await eventually(asking(suite, state["domain"]), is_served)
    # It goes on failing, and nobody is warned twice.
    await rechecks(suite).check(tenant.id)
    assert await alerts_of(suite, tenant) == [("security", "open")]


async def test_a_record_that_comes_back_ends_the_warning(suite: Suite) -> None:
    tenant, record = await found_without_record(suite)
    suite.dns.publish(record)
    await rechecks(suite).check(tenant.id)
    state = await domain_of(suite, tenant)
    assert (state["status"], state["problem"], state["lapsesAt"]) == ("verified", None, None)
    assert await alerts_of(suite, tenant) == [("security", "resolved")]


@pytest.mark.parametrize("way", ["verified", "given up"])
async def test_the_tenants_own_remedies_end_the_warning_too(suite: Suite, way: str) -> None:
    tenant, record = await found_without_record(suite)
    if way == "verified":
        suite.dns.publish(record)
        fine(await verify(suite, tenant))
    else:
        fine(await patch(suite, tenant, tenant.auth, domain=None))
    assert await alerts_of(suite, tenant) == [("security", "resolved")]


async def test_after_the_grace_the_domain_stops_and_its_old_record_proves_nothing(suite: Suite) -> None:
    """Catalogue 24."""
    tenant, record = await found_without_record(suite)
    domain = (await domain_of(suite, tenant))["domain"]
    await eventually(asking(suite, domain), is_served)
    await set_back(suite, tenant, "failing_since", GRACE)
    await rechecks(suite).check(tenant.id)
    await eventually(asking(suite, domain), is_nobodys)
    state = await domain_of(suite, tenant)
    assert (state["status"], state["problem"]) == ("pending", "record_missing")
    assert state["record"]["value"] != record["value"]
    suite.dns.publish(record)
    refused(await verify(suite, tenant), 409, "domain_unproven")
    assert (await domain_changes(suite, tenant))[0] == {"domain_verified": {"old": domain, "new": None}}


async def test_a_lapsed_domain_is_free_for_who_proves_it(suite: Suite) -> None:
    """Catalogue 24."""
    tenant, _ = await found_without_record(suite)
    domain = (await domain_of(suite, tenant))["domain"]
    other = await suite.tenant("custom")
    refused(await patch(suite, other, other.auth, domain=domain), 409, "domain_taken")
    await set_back(suite, tenant, "failing_since", GRACE)
    await rechecks(suite).check(tenant.id)
    successor = await with_record(suite, domain)
    fine(await verify(suite, successor))
    await eventually(asking(suite, domain), is_served)
    assert await tenant_at(suite, successor, domain) == "own"
    assert await tenant_at(suite, tenant, domain) == "tenant_mismatch"


async def test_name_servers_that_do_not_answer_take_nothing_away(suite: Suite) -> None:
    tenant = await with_domain(suite, new_domain())
    state = await domain_of(suite, tenant)
    suite.dns.broken.add(state["record"]["name"])
    for _ in range(2):
        await rechecks(suite).check(tenant.id)
        await set_back(suite, tenant, "checked_at", GRACE * 2)
    after = await domain_of(suite, tenant)
    assert (after["status"], after["problem"], after["lapsesAt"]) == ("verified", "lookup_failed", None)
    assert await alerts_of(suite, tenant) == []


async def test_a_claim_that_changes_while_dns_is_asked_keeps_what_it_is(suite: Suite) -> None:
    """The answer was about the old claim."""
    tenant, _ = await found_without_record(suite)
    await set_back(suite, tenant, "failing_since", GRACE)

    class ChangingProofs(Proofs):
        async def holds(self, domain: str, token: str, *, for_tenant: UUID) -> bool:
            found = await super().holds(domain, token, for_tenant=for_tenant)
            fine(await patch(suite, tenant, tenant.auth, domain=renamed))
            suite.dns.publish((await domain_of(suite, tenant))["record"])
            fine(await verify(suite, tenant))
            return found

    renamed = new_domain()
    await Rechecks(application(suite), ChangingProofs((suite.dns.address,))).check(tenant.id)
    state = await domain_of(suite, tenant)
    assert (state["domain"], state["status"]) == (renamed, "verified")


async def test_the_worker_asks_about_those_whose_time_has_come(suite: Suite) -> None:
    due, fresh = [await with_domain(suite, new_domain()) for _ in range(2)]
    failing, _ = await found_without_record(suite)
    claimed = await suite.tenant("custom", domain=new_domain())
    await set_back(suite, due, "checked_at", timedelta(hours=7))
    await set_back(suite, failing, "checked_at", timedelta(hours=2))
    await set_back(suite, fresh, "checked_at", timedelta(hours=2))
    suite.dns.asked.clear()
    platform: Database = suite.apps["tenant"].state.platform
    await DomainRounds(platform, rechecks(suite), pending(suite)).check(Job(uuid4(), None, CHECKS, {}, 1))
    for tenant, is_asked in ((due, True), (failing, True), (fresh, False), (claimed, False)):
        name = (await domain_of(suite, tenant))["record"]["name"]
        assert (name in suite.dns.asked) is is_asked


async def test_a_claim_is_proven_by_itself_once_its_record_is_there(suite: Suite) -> None:
    domain = new_domain()
    tenant = await suite.tenant("custom", domain=domain)
    await pending(suite).check(tenant.id)
    state = await domain_of(suite, tenant)
    assert (state["status"], state["problem"]) == ("pending", "record_missing")
    suite.dns.publish(state["record"])
    for _ in range(2):
        await pending(suite).check(tenant.id)
    state = await domain_of(suite, tenant)
    assert (state["status"], state["problem"]) == ("verified", None)
    await eventually(asking(suite, domain), is_served)
    assert await domain_changes(suite, tenant) == [{"domain_verified": {"old": None, "new": domain}}]


async def test_a_claim_of_what_another_has_proven_stays_pending(suite: Suite) -> None:
    """Catalogue 24."""
    domain = new_domain()
    slow = await with_record(suite, domain)
    fine(await verify(suite, await with_record(suite, domain)))
    await pending(suite).check(slow.id)
    state = await domain_of(suite, slow)
    assert (state["status"], state["problem"], state["checkedAt"] is None) == ("pending", None, False)
    refused(await verify(suite, slow), 409, "domain_taken")


async def test_claims_are_looked_at_while_they_are_fresh_and_ever_less_often(suite: Suite) -> None:
    tenant = await suite.tenant("custom", domain=new_domain())

    async def is_due() -> bool:
        async with suite.apps["tenant"].state.platform.platform_transaction() as session:
            return tenant.id in await fresh_claims(session, FRESH, 10_000)

    assert await is_due()
    await pending(suite).check(tenant.id)
    assert not await is_due()
    await set_back(suite, tenant, "checked_at", timedelta(minutes=2))
    assert await is_due()
    # A claim that was looked at when it was a day old rests for an hour.
    await set_back(suite, tenant, "claimed_at", timedelta(days=1))
    assert not await is_due()
    await set_back(suite, tenant, "checked_at", timedelta(hours=1))
    assert await is_due()
    await set_back(suite, tenant, "claimed_at", FRESH)
    assert not await is_due()


async def test_the_workers_round_proves_what_is_published(suite: Suite) -> None:
    tenant = await with_record(suite, new_domain())
    platform = suite.apps["tenant"].state.platform
    rounds = DomainRounds(platform, rechecks(suite), pending(suite))
    await rounds.look_at_claims(Job(uuid4(), None, PENDING, {}, 1))
    assert (await domain_of(suite, tenant))["status"] == "verified"
