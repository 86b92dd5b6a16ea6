"""Rules, their cases and their pages name what there is, and nothing is left without a case or a page."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from mis_jobs.metrics import JobMetrics
from mis_tenancy.metrics import Metrics
from mis_tenancy.redis import Redis
from mis_tenancy.redis.metrics import RedisMetrics
from mis_worker.tenant_levels.metrics import LevelMetrics
from tenant_service.alerts.metrics import AlertMetrics
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.webhooks.metrics import WebhookMetrics

ROOT: Final = Path(__file__).resolve().parents[2]
MONITORING: Final = ROOT / "infrastructure" / "monitoring"
RULES: Final = [
    rule
    for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS: Final[dict[str, Any]] = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS: Final[list[Any]] = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
CASES: Final = [case for test in TESTS for case in test.get("alert_rule_test", [])]
BOARDS: Final[dict[str, Any]] = {
    board["uid"]: board
    for board in map(json.loads, (file.read_text() for file in MONITORING.glob("grafana/dashboards/*.json")))
}
PAGE: Final = (ROOT / "docs" / "operations.md").read_text()


# What a kind of metric shows beside its name.
SUFFIXES: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exported() -> set[str]:
    """Return the names of all samples that the processes show."""
    service, worker = Metrics("user"), JobMetrics()
    service.watch(local_decisions=float, audit_pending=float, feed_lag=float)
    service.registry.register(RedisMetrics("user", Redis("redis://localhost", 1.0)))
    AlertMetrics(worker.registry)
    WebhookMetrics(worker.registry)
    ProbeMetrics(worker.registry)
    LevelMetrics(worker.registry)
    return {
        metric.name + suffix
        for registry in (service.registry, worker.registry)
        for metric in registry.collect()
        for suffix in SUFFIXES[metric.type]
    }


def named(text: str) -> set[str]:
    """Return the names of our metrics in a text; those of recorded ones have a colon before them."""
    return set(re.findall(r"(?<![:\w])mis_[a-z0-9_]+", text))


def test_rules_use_only_metrics_that_are_shown_and_recordings_that_are_made() -> None:
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for rule in RULES:
        assert named(rule["expr"]) <= exported(), rule
        assert set(re.findall(r"\b\w+:mis_\w+:\w+", rule["expr"])) <= recorded, rule


def test_the_page_names_every_metric_and_no_other() -> None:
    table = PAGE[PAGE.index("## Metrics") : PAGE.index("## When an alert fires")]
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()}
    assert named(table) == shown


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_page_that_its_annotation_leads_to(alert: str) -> None:
    assert f"### {alert}\n" in PAGE
    assert ALERTS[alert]["annotations"]["runbook"] == f"docs/operations.md#{alert.lower()}"
    assert ALERTS[alert]["labels"]["severity"] in ("critical", "warning", "info")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_opens_a_panel_that_shows_it_and_its_page_names_that_panel(alert: str) -> None:
    address = urlsplit(ALERTS[alert]["annotations"]["dashboard"])
    board = BOARDS[address.path.removeprefix("/d/")]
    (chosen,) = parse_qs(address.query)["viewPanel"]
    (panel,) = (one for one in board["panels"] if f"panel-{one['id']}" == chosen)
    assert f"### {alert}\n*{board['title']}: {panel['title']}.*\n" in PAGE
    shown = " ".join(target["expr"] for target in panel["targets"])
    assert _subjects(ALERTS[alert]["expr"]) & _subjects(shown)


def test_an_alert_about_one_tenant_opens_that_tenants_dashboard() -> None:
    address = urlsplit(ALERTS["MisTenantFails"]["annotations"]["dashboard"])
    (name,) = parse_qs(address.query)["var-tenant"]
    assert name == "{{ $labels.tenant }}"
    assert "tenant" in {one["name"] for one in BOARDS["mis-tenant"]["templating"]["list"]}


def _subjects(expr: str) -> set[str]:
    """Return what a question is about: metrics, recordings, and whether processes answer."""
    return set(re.findall(r"\bup\b|\b\w+:mis_\w+:\w+|(?<![:\w])mis_\w+", expr))


def test_every_page_is_of_an_alert() -> None:
    assert set(re.findall(r"^### (Mis\w+)$", PAGE, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires_and_something_it_does_not_fire_for(alert: str) -> None:
    cases = [case for case in CASES if case["alertname"] == alert]
    assert any(case.get("exp_alerts") for case in cases)
    silent = [case for case in cases if not case.get("exp_alerts")]
    # A case that lists what fires is exact: other series of its input stay silent.
    several = [
        test for test in TESTS if alert in {case["alertname"] for case in test.get("alert_rule_test", [])}
    ]
    assert silent or any(len(test["input_series"]) > 1 for test in several)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="There is no promtool here.")
def test_the_rules_do_what_their_cases_say() -> None:
    """Catalogue 145."""
    for words in (
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ):
        subprocess.run(["promtool", *words], cwd=MONITORING, check=True, capture_output=True)  # noqa: S603, S607


@pytest.mark.skipif(shutil.which("amtool") is None, reason="There is no amtool here.")
def test_alertmanager_reads_its_file() -> None:
    subprocess.run(["amtool", "check-config", "alertmanager.yml"], cwd=MONITORING, check=True)  # noqa: S607
