"""What a request leaves in the metrics of its service."""

from prometheus_client import CollectorRegistry

from tests.suite import Suite


def total(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return the sum over all tenants, whichever of them have a label of their own."""
    return sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_a_request_of_a_tenant_counts_with_its_status_its_duration_and_its_feature(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("enterprise")
    registry = suite.apps["tenant"].state.tenancy.metrics.registry

    def counted() -> tuple[float, ...]:
        return (
            total(registry, "mis_tenant_requests_total", status="2xx"),
            total(registry, "mis_tenant_request_duration_seconds_count"),
            total(registry, "mis_tenant_feature_uses_total", feature="advanced_analytics"),
        )

    before = counted()
    answer = await suite.client.get(f"/api/v1/tenants/{tenant.id}/analytics?by=route", headers=tenant.auth)
    assert answer.status_code == 200
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 1]


async def test_an_operators_request_is_nobodys(suite: Suite) -> None:
    tenant = await suite.tenant()
    registry = suite.apps["tenant"].state.tenancy.metrics.registry
    before = total(registry, "mis_tenant_requests_total")
    await suite.client.get(f"/api/v1/tenants/{tenant.id}", headers=suite.operator)
    assert total(registry, "mis_tenant_requests_total") == before
