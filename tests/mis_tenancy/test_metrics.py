from prometheus_client.parser import text_string_to_metric_families

from mis_tenancy.identifiers import new_id
from mis_tenancy.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels) | {"value": str(sample.value)})
    return found


def test_ten_thousand_tenants_make_no_more_series_than_the_cap() -> None:
    """Catalogue 136."""
    metrics = Metrics("user", tenants=50)
    for _ in range(10_000):
        metrics.observe("/api/v1/users", "GET", 200, 0.01, new_id())
    rows = samples(metrics)["mis_tenant_requests_total"]
    assert len(rows) == 51
    assert sum(float(row["value"]) for row in rows) == 10_000
    assert [row["value"] for row in rows if row["tenant"] == "other"] == ["9950.0"]
    every = [row["tenant"] for rows in samples(metrics).values() for row in rows if "tenant" in row]
    assert len(set(every)) == 51


def test_invented_methods_are_one_series() -> None:
    """Catalogue 136."""
    metrics = Metrics("user")
    for number in range(100):
        metrics.observe("unmatched", f"METHOD{number}", 405, 0.01, None)
    (row,) = samples(metrics)["mis_requests_total"]
    assert (row["method"], row["status"], row["value"]) == ("other", "4xx", "100.0")


def test_refusals_are_counted_by_code_and_mismatches_by_themselves() -> None:
    metrics = Metrics("user")
    for code in ("tenant_mismatch", "rate_limited", "tenant_mismatch"):
        metrics.refused(code)
    found = samples(metrics)
    assert {row["code"]: row["value"] for row in found["mis_refusals_total"]} == {
        "tenant_mismatch": "2.0",
        "rate_limited": "1.0",
    }
    assert found["mis_tenant_mismatches_total"][0]["value"] == "2.0"


def test_what_others_count_is_asked_at_each_scrape() -> None:
    counts = iter(range(1, 100))
    metrics = Metrics("user")
    metrics.watch(local_decisions=lambda: next(counts), audit_pending=lambda: 7, feed_lag=lambda: 0.25)
    first, second = samples(metrics), samples(metrics)
    assert float(second["mis_limiter_local_decisions_total"][0]["value"]) > float(
        first["mis_limiter_local_decisions_total"][0]["value"]
    )
    assert second["mis_audit_pending_records"][0]["value"] == "7.0"
    assert second["mis_revocation_feed_lag_seconds"][0]["value"] == "0.25"


def test_two_services_of_one_process_have_registries_of_their_own() -> None:
    one, other = Metrics("one"), Metrics("other")
    one.refused("rate_limited")
    assert "mis_refusals_total" not in samples(other)
