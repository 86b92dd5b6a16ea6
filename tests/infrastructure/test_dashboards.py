"""The dashboards are what their source says, ask only what there is to ask, and ask it in PromQL."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.infrastructure.test_monitoring import MONITORING, RULES, exported, named

GRAFANA: Final = MONITORING / "grafana"
FILES: Final = sorted((GRAFANA / "dashboards").glob("*.json"))
# What belongs to Prometheus' marks and choices, of which the models know only what all datasources have.
UNLISTED: Final = {
    "annotations.list[].step",
    "annotations.list[].titleFormat",
    "annotations.list[].textFormat",
    "templating.list[].definition",
}
RECORDED: Final = {rule["record"] for rule in RULES if "record" in rule}


# Without these a panel's options and questions would be taken as they come.
register_default_plugins()


def each_file() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def dashboard(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def expressions(file: Path) -> list[str]:
    """Return all that a dashboard asks: its panels, its marks, and its variables."""
    document = dashboard(file)
    asked = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    asked += [mark["expr"] for mark in document["annotations"]["list"]]
    choices = [one["query"]["query"] for one in document["templating"]["list"] if one["type"] == "query"]
    return asked + [re.sub(r"^query_result\((.*)\)$", r"\1", one) for one in choices]


def unknown(written: Any, known: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which Grafana's own models have dropped or changed something."""
    if isinstance(written, dict) and isinstance(known, dict):
        for key, value in written.items():
            yield from unknown(value, known.get(key), f"{place}.{key}" if place else key)
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for one, other in zip(written, known, strict=True):
            yield from unknown(one, other, f"{place}[]")
    elif written != known:
        yield place


def test_there_is_one_for_each_view() -> None:
    assert [file.stem for file in FILES] == ["isolation", "neighbours", "platform", "tenant"]


def test_what_is_rendered_is_up_to_date(tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    subprocess.run([sys.executable, tmp_path / "monitoring" / "render.py"], check=True)  # noqa: S603
    for file in FILES:
        again = tmp_path / "monitoring" / file.relative_to(MONITORING)
        assert again.read_text() == file.read_text(), f"{file.name} is stale: make dashboards"


@each_file()
def test_a_dashboard_asks_only_for_metrics_that_are_shown_and_recordings_that_are_made(file: Path) -> None:
    """Catalogue 146."""
    assert expressions(file)
    for expr in expressions(file):
        assert named(expr) <= exported(), expr
        assert set(re.findall(r"\b\w+:mis_\w+:\w+", expr)) <= RECORDED, expr


def test_every_metric_of_tenants_is_on_a_dashboard_or_in_a_recording_that_is() -> None:
    asked = " ".join(expr for file in FILES for expr in expressions(file))
    recorded = " ".join(rule["expr"] for rule in RULES if rule.get("record", "-") in asked)
    shown = named(asked) | named(recorded)
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in exported() if "tenant" in name}
    assert not {one for one in families if not any(name.startswith(one) for name in shown)}


@each_file()
def test_panels_have_room_of_their_own_and_names_of_their_own(file: Path) -> None:
    panels = dashboard(file)["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


@each_file()
def test_a_dashboard_is_written_in_fields_and_words_that_grafana_knows(file: Path) -> None:
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard(file))))
    assert set(unknown(dashboard(file), known)) <= UNLISTED


@each_file()
def test_every_question_is_put_to_the_chosen_datasource(file: Path) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    document = dashboard(file)
    parts = [panel for panel in document["panels"] if panel["type"] != "row"]
    asking = [*parts, *(target for panel in parts for target in panel["targets"])]
    assert all(one["datasource"] == chosen for one in [*asking, *document["annotations"]["list"]])
    assert document["templating"]["list"][0]["type"] == "datasource"


def test_a_tenant_is_chosen_by_its_slug_and_asked_for_by_its_id() -> None:
    """What Grafana's query_result makes of a series is matched by the variable's expression."""
    (file,) = (file for file in FILES if file.stem == "tenant")
    (variable,) = (one for one in dashboard(file)["templating"]["list"] if one["name"] == "tenant")
    shown = (
        'tenant:mis_tenant_info:one{plan="basic",slug="acme",status="active",tenant="01a2-f"} 1 1795686873702'
    )
    matched = re.search(variable["regex"].strip("/").replace("(?<", "(?P<"), shown)
    assert matched is not None
    assert (matched["text"], matched["value"]) == ("acme", "01a2-f")


def test_grafana_is_pointed_to_the_prometheus_and_the_files_of_the_compose_file() -> None:
    services = yaml.safe_load((MONITORING.parents[1] / "docker-compose.tenant.yml").read_text())["services"]
    (source,) = yaml.safe_load((GRAFANA / "datasources.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = yaml.safe_load((GRAFANA / "providers.yml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./infrastructure/monitoring/grafana/dashboards"] == provider["options"]["path"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="There is no promtool here.")
def test_every_question_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:question{number}", "expr": expr}
        for number, expr in enumerate(expr for file in FILES for expr in expressions(file))
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], check=True, capture_output=True)  # noqa: S603, S607
