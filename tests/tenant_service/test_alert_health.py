"""Alerts about a tenant's health come and go with its status, and a single odd probe raises none."""

from typing import Any
from uuid import UUID

from tests.suite import Suite
from tests.tenant_service.test_alert_book import alerts, events
from tests.tenant_service.test_health import age_probes, broken, health_of


async def health_alerts(suite: Suite, tenant_id: UUID) -> list[tuple[str, str, str]]:
    return [(row.subject, row.severity, row.status) for row in await alerts(suite, tenant_id)]


async def probe(suite: Suite, tenant_id: UUID, *away: str) -> Any:
    with broken(suite, *away):
        return (await health_of(suite).probe(tenant_id)).status.value


async def test_one_odd_probe_raises_no_alert(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for away in ((), ("storage",), (), (), ("redis",), ()):
        await probe(suite, tenant.id, *away)
    assert await alerts(suite, tenant.id) == []


async def test_the_very_first_probe_alone_raises_no_alert(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    assert await probe(suite, tenant.id, "storage") == "unhealthy"
    await probe(suite, tenant.id)
    await probe(suite, tenant.id)
    assert await alerts(suite, tenant.id) == []


async def test_a_bad_status_raises_one_alert_which_ends_with_it(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await probe(suite, tenant.id)
    for _ in range(3):
        await probe(suite, tenant.id, "storage")
    [alert] = await alerts(suite, tenant.id)
    assert (alert.subject, alert.severity, alert.status) == ("unhealthy", "critical", "open")
    assert "Failing: storage." in alert.message
    await probe(suite, tenant.id)
    assert await health_alerts(suite, tenant.id) == [("unhealthy", "critical", "open")]
    await probe(suite, tenant.id)
    assert await health_alerts(suite, tenant.id) == [("unhealthy", "critical", "resolved")]
    assert [kind for kind, _ in await events(suite, tenant.id)] == ["alert.opened", "alert.resolved"]
    # What comes back is news again.
    await probe(suite, tenant.id, "storage")
    await probe(suite, tenant.id, "storage")
    assert len(await alerts(suite, tenant.id)) == 2


async def test_from_bad_to_worse_one_alert_follows_the_other(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await probe(suite, tenant.id)
    for away in ("redis", "redis", "storage", "storage"):
        await probe(suite, tenant.id, away)
    assert await health_alerts(suite, tenant.id) == [
        ("degraded", "warning", "resolved"),
        ("unhealthy", "critical", "open"),
    ]


async def test_an_alert_from_before_a_long_pause_ends_with_the_first_good_probe(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for away in ((), ("storage",), ("storage",)):
        await probe(suite, tenant.id, *away)
    await age_probes(suite, tenant.id, 700)
    await probe(suite, tenant.id)
    assert await health_alerts(suite, tenant.id) == [("unhealthy", "critical", "resolved")]
