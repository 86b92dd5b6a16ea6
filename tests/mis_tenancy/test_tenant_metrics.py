"""Which tenants metrics tell apart, and what they count of each."""

from dataclasses import dataclass
from uuid import UUID

from prometheus_client import CollectorRegistry

from mis_tenancy.busiest import replaced
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant_metrics import TenantMetrics


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """The metrics of a service with three places, whose minutes pass when they are told to."""

    def __init__(self, capacity: int = 3) -> None:
        self.clock = Clock()
        self.metrics = TenantMetrics("user", capacity, self.clock)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)

    def requests(self, tenant: UUID | str, status: str = "2xx") -> float | None:
        labels = {"service": "user", "tenant": str(tenant), "status": status}
        return self.registry.get_sample_value("mis_tenant_requests_total", labels)

    def ask(self, tenant: UUID, times: int = 1) -> None:
        for _ in range(times):
            self.metrics.observe(tenant, 200, 0.02, None)

    def minute(self) -> None:
        self.clock.now += 60


def test_everything_about_a_tenant_is_counted_under_its_id() -> None:
    watched, tenant = Watched(), new_id()
    for status, seconds, feature in (
        (200, 0.02, None),
        (201, 0.02, "ai_verification"),
        (429, 0.001, None),
        (503, 20.0, None),
    ):
        watched.metrics.observe(tenant, status, seconds, feature)
    value = watched.registry.get_sample_value
    of = {"service": "user", "tenant": str(tenant)}
    assert [watched.requests(tenant, status) for status in ("2xx", "4xx", "5xx")] == [2, 1, 1]
    assert value("mis_tenant_rejections_total", of) == 1
    assert value("mis_tenant_feature_uses_total", of | {"feature": "ai_verification"}) == 1
    name = "mis_tenant_request_duration_seconds"
    assert [value(f"{name}_bucket", of | {"le": le}) for le in ("0.01", "0.025", "10.0", "+Inf")] == [
        1,
        3,
        3,
        4,
    ]
    assert value(f"{name}_count", of) == 4
    assert value(f"{name}_sum", of) == 20.041


def test_a_duration_that_is_a_bucket_s_bound_is_in_it() -> None:
    watched, tenant = Watched(), new_id()
    watched.metrics.observe(tenant, 200, 0.05, None)
    of = {"service": "user", "tenant": str(tenant), "le": "0.05"}
    assert watched.registry.get_sample_value("mis_tenant_request_duration_seconds_bucket", of) == 1


def test_whoever_comes_while_there_is_room_is_named_at_once() -> None:
    watched, tenants = Watched(), [new_id() for _ in range(4)]
    for tenant in tenants:
        watched.ask(tenant)
    assert [watched.requests(tenant) for tenant in tenants] == [1, 1, 1, None]
    assert watched.requests("other") == 1


def test_the_busiest_get_the_places_and_neither_count_ever_falls() -> None:
    watched, first, busy = Watched(), [new_id() for _ in range(3)], new_id()
    for tenant in first:
        watched.ask(tenant, 5)
    watched.ask(busy, 100)
    assert watched.requests("other") == 100
    watched.minute()
    watched.ask(busy, 10)
    # What it had asked before stays where it was counted, so no rate leaps.
    assert watched.requests(busy) == 10
    assert watched.requests("other") == 100
    assert sum(watched.requests(tenant) is None for tenant in first) == 1


def test_tenants_that_are_about_as_busy_do_not_take_turns() -> None:
    watched, first, other = Watched(), [new_id() for _ in range(3)], new_id()
    for minute in range(10):
        for tenant in first:
            watched.ask(tenant, 100)
        # Now it asks more than each of the named, now less.
        watched.ask(other, 150 if minute % 2 else 80)
        watched.minute()
    assert watched.requests(other) is None
    assert [watched.requests(tenant) for tenant in first] == [1000, 1000, 1000]


def test_who_has_been_silent_for_long_loses_the_place_to_anybody() -> None:
    watched, first, late = Watched(), [new_id() for _ in range(3)], new_id()
    for tenant in first:
        watched.ask(tenant, 1000)
    for _ in range(20):
        watched.minute()
        watched.ask(first[0], 50)
        watched.ask(late)
    assert watched.requests(late) is not None
    assert watched.requests(first[0]) == 2000


def test_without_places_all_are_other() -> None:
    watched, tenant = Watched(0), new_id()
    for _ in range(3):
        watched.ask(tenant)
        watched.minute()
    assert watched.requests("other") == 3
    assert watched.requests(tenant) is None


def test_free_places_go_to_the_busiest_and_nobody_idle_gets_one() -> None:
    assert replaced({}, {"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.0}, 2) == ([], ["b", "c"])
    assert replaced({"a": 5.0}, {"b": 0.0}, 3) == ([], [])
    assert replaced({"a": 1.0, "b": 9.0}, {"c": 2.0}, 2) == ([], [])
    assert replaced({"a": 1.0, "b": 9.0}, {"c": 2.5, "d": 30.0}, 2) == (["a"], ["d"])
