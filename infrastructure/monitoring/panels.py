"""The few kinds of panels that our dashboards are made of, as Grafana's classic dashboard JSON.

Ranges are written out instead of taken from Grafana's variables, so that what a panel asks can be checked by
Prometheus' own tools, and is the same question that the recording rules answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """A question in PromQL, and what a series of its answer is called: `{{label}}` stands for a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, `width` of 24 columns wide; `help` says what to make of it.

    `kind` is `timeseries`, `stat`, `table` (a row for each series) or `state-timeline` (0 and 1 by `words`);
    `unit` is Grafana's. `warn` and `bad` are values from which on it is yellow and red. The axis goes up to
    `ceiling` at least, so that where all is well one sees how far away that is. `quiet` stands where there
    is nothing. `ranked` names the series beside the plot, in as many pixels, those with most at the top.
    `colors` are of series by their names, `dashed` those that are only to be compared with. `columns` are a
    table's, as label and heading. `leads` is the title and the address of what a series or a row opens.
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
    ceiling: float | None = None
    quiet: str = ""
    stacked: bool = False
    ranked: int = 0
    words: tuple[str, str] = ("fails", "passes")
    colors: Mapping[str, str] = field(default_factory=dict)
    dashed: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    leads: tuple[str, str] | None = None

    @property
    def id(self) -> int:
        """The panel's number on its dashboard: of its title, so that alerts lead to it wherever it is put."""
        return crc32(self.title.encode()) % 10_000

    def document(self, x: int, y: int) -> dict[str, Any]:
        """Return the panel's JSON at a place of the grid."""
        return {
            "id": self.id,
            "type": self.kind,
            "title": self.title,
            "description": self.help,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(query, index) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": _OPTIONS[self.kind]
            | ({"legend": _RANKED | {"width": self.ranked}} if self.ranked else {}),
        } | ({"transformations": self._rows()} if self.kind == "table" else {})

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
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": self._steps()},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
        }
        if self.unit == "percentunit" and self.kind == "stat":
            # As many as show that one in ten thousand fails; by itself Grafana takes as many as there are.
            defaults["decimals"] = 2
        if self.quiet:
            defaults["noValue"] = self.quiet
        if self.leads is not None:
            defaults["links"] = [dict(zip(("title", "url"), self.leads, strict=True))]
        if self.kind == "timeseries":
            defaults |= {"min": 0, "custom": self._drawing()}
        if self.kind == "state-timeline":
            colored = enumerate(zip(self.words, ("red", "green"), strict=True))
            words = {str(value): {"text": word, "color": color} for value, (word, color) in colored}
            defaults["mappings"] = [{"type": "value", "options": words}]
        return defaults

    def _steps(self) -> list[dict[str, Any]]:
        marked = [("yellow", self.warn), ("red", self.bad)]
        return [{"color": "green", "value": None}] + [
            {"color": color, "value": value} for color, value in marked if value is not None
        ]

    def _drawing(self) -> dict[str, Any]:
        marked = self.warn is not None or self.bad is not None
        drawing = {
            "lineWidth": 1,
            "fillOpacity": 30 if self.stacked else 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if marked else "off"},
        }
        return drawing if self.ceiling is None else drawing | {"axisSoftMax": self.ceiling}

    def _overrides(self) -> list[dict[str, Any]]:
        colored = [
            _override(name, {"color": {"mode": "fixed", "fixedColor": color}})
            for name, color in self.colors.items()
        ]
        dashed = [_override(name, _DASHED) for name in self.dashed]
        # A column is as wide as any other unless it is told so, and an id would be cut off.
        ids = [_override("Id", {"custom.width": 310}) for _, heading in self.columns if heading == "Id"]
        return colored + dashed + ids

    def _rows(self) -> list[dict[str, Any]]:
        """Show the labels that somebody wants to read, and neither when nor by whom they were asked."""
        names = [label for label, _ in self.columns]
        order = {label: number for number, label in enumerate(names)}
        return [
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
            {"id": "organize", "options": {"indexByName": order, "renameByName": dict(self.columns)}},
        ]


def _override(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


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
_DASHED: Final = {"custom.lineStyle": {"fill": "dash", "dash": [10, 10]}, "custom.fillOpacity": 0}
_RANKED: Final = {
    "displayMode": "table",
    "placement": "right",
    "showLegend": True,
    "calcs": ["max", "lastNotNull"],
    "sortBy": "Max",
    "sortDesc": True,
}


def now(title: str, expr: str, unit: str = "short", width: int = 4, **options: Any) -> Panel:
    """Return a small panel that shows one number as it is now."""
    return Panel(title, (Query(expr),), "stat", unit, width, height=4, **options)


def called(expr: str) -> str:
    """Return `expr` with the tenants' slugs, as far as the worker names whom `expr` is about."""
    return (
        f"(({expr}) * on (tenant) group_left (slug) tenant:mis_tenant_info:one) or ignoring (slug) ({expr})"
    )


def top(expr: str) -> tuple[Query, ...]:
    """Return the query for the ten tenants with most of `expr`, which is by tenant.

    They are called by their slugs, or by their ids where the worker does not name whom a service names.
    """
    by_id = f'label_replace(topk(10, {called(expr)}), "who", "$1", "tenant", "(.*)")'
    return (Query(f'label_replace({by_id}, "who", "$1", "slug", "(.+)")', "{{who}}"),)
