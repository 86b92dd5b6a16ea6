"""The few kinds of panels that our dashboards are made of, as Grafana's classic dashboard JSON.

Ranges are written out instead of taken from Grafana's variables, so that what a panel asks can be checked by
Prometheus' own tools, and is the same question that the recording rules answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA: Final = 39
_COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Query:
    """A question in PromQL, and what a series of its answer is called: `{{label}}` stands for a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, `width` of 24 columns wide; `help` says what to make of it.

    `kind` is `timeseries`, `stat`, `table` (a row for each series) or `state-timeline`; `unit` is Grafana's.
    `warn` and `bad` are values from which on it is yellow and red.
    """

    title: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    help: str = ""
    warn: float | None = None
    bad: float | None = None
    stacked: bool = False

    def document(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return the panel's JSON at a place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.help,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(query, index) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
        } | ({"transformations": _ROWS} if self.kind == "table" else {})

    def _target(self, query: Query, index: int) -> dict[str, Any]:
        is_now = self.kind in ("stat", "table")
        return {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "instant": is_now,
            "range": not is_now,
            "format": "table" if self.kind == "table" else "time_series",
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        steps += [
            {"color": color, "value": value}
            for color, value in (("yellow", self.warn), ("red", self.bad))
            if value is not None
        ]
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
        }
        if self.kind == "timeseries":
            marked = self.warn is not None or self.bad is not None
            defaults["min"] = 0
            defaults["custom"] = {
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 10,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line" if marked else "off"},
            }
        if self.kind == "state-timeline":
            words = {"0": {"text": "fails", "color": "red"}, "1": {"text": "passes", "color": "green"}}
            defaults["mappings"] = [{"type": "value", "options": words}]
        return defaults


_CALCS: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": _CALCS, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "state-timeline": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    },
}
# A table shows the labels as columns, and neither when nor by whom they were asked.
_HIDDEN: Final = {"Time": True, "__name__": True, "instance": True, "job": True, "process": True}
_ROWS: Final = [
    {"id": "merge", "options": {}},
    {"id": "organize", "options": {"excludeByName": _HIDDEN, "indexByName": {}, "renameByName": {}}},
]


def now(
    title: str, expr: str, unit: str = "short", warn: float | None = None, bad: float | None = None
) -> Panel:
    """Return a small panel that shows one number as it is now."""
    return Panel(title, (Query(expr),), "stat", unit, width=4, height=4, warn=warn, bad=bad)


def top(expr: str) -> tuple[Query, ...]:
    """Return the query for the ten tenants with most of `expr`, which is by tenant.

    They are called by their slugs, or by their ids where the worker does not name whom a service names.
    """
    slug = f"({expr}) * on (tenant) group_left (slug) tenant:mis_tenant_info:one"
    known = f"topk(10, ({slug}) or on (tenant) ({expr}))"
    by_id = f'label_replace({known}, "who", "$1", "tenant", "(.*)")'
    return (Query(f'label_replace({by_id}, "who", "$1", "slug", "(.+)")', "{{who}}"),)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: its rows of panels by their headings, and the variables that are chosen at its top."""

    uid: str
    title: str
    help: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    variables: tuple[dict[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the dashboard's JSON."""
        datasource = {
            "name": "datasource",
            "type": "datasource",
            "label": "Prometheus",
            "query": "prometheus",
        }
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.help,
            "tags": ["mis"],
            "schemaVersion": _SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "utc",
            "time": {"from": "now-3h", "to": "now"},
            "links": [_LINKS],
            "annotations": {"list": [_ALERTS]},
            "templating": {"list": [datasource, *self.variables]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterable[dict[str, Any]]:
        """Place the panels from left to right and from top to bottom, a heading above each row's."""
        number, y = 0, 0
        for heading, panels in self.rows:
            number += 1
            place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
            yield {
                "id": number,
                "type": "row",
                "title": heading,
                "gridPos": place,
                "collapsed": False,
                "panels": [],
            }
            x, y, lowest = 0, y + 1, 0
            for panel in panels:
                if x + panel.width > _COLUMNS:
                    x, y, lowest = 0, y + lowest, 0
                number += 1
                yield panel.document(number, x, y)
                x, lowest = x + panel.width, max(lowest, panel.height)
            y += lowest


_LINKS: Final = {
    "type": "dashboards",
    "title": "Suite",
    "tags": ["mis"],
    "icon": "external link",
    "tooltip": "",
    "targetBlank": False,
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
}
_ALERTS: Final = {
    "name": "Alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Mis.*", alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{service}} {{process}} {{tenant}}",
    "step": "30s",
}
