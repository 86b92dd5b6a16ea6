"""A dashboard as rows of panels under their headings, placed in Grafana's grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from panels import DATASOURCE, Panel

# What opens a tenant's dashboard: from a series, and from a row of a table that shows the id.
_TENANTS_OWN: Final = "/d/mis-tenant?${datasource:queryparam}&${__url_time_range}&var-tenant="
TO_TENANT: Final = ("Look at this tenant", _TENANTS_OWN + "${__field.labels.tenant}")
TO_TENANT_OF_ROW: Final = ("Look at this tenant", _TENANTS_OWN + "${__data.fields.Id}")
_SCHEMA: Final = 39
_COLUMNS: Final = 24


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
        y = 0
        for number, (heading, panels) in enumerate(self.rows):
            yield {
                # Panels' numbers are below.
                "id": 10_000 + number,
                "type": "row",
                "title": heading,
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
                "collapsed": False,
                "panels": [],
            }
            x, y, lowest = 0, y + 1, 0
            for panel in panels:
                if x + panel.width > _COLUMNS:
                    x, y, lowest = 0, y + lowest, 0
                yield panel.document(x, y)
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
# Marked is only what wakes somebody up: in a bad hour marks of all alerts would hide what they are about.
_ALERTS: Final = {
    "name": "Critical alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Mis.*", alertstate="firing", severity="critical"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{service}} {{process}} {{check}} {{tenant}}",
    "step": "30s",
}
