"""The report as one page of HTML that needs nothing else: no script, no font, no file beside it."""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mis_cli.load.charts import LABELS, WIDTH, curve_of, rows_of

_QUANTILES: Final = ("p50", "p95", "p99")


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["number"] = _number


def page_of(document: dict[str, Any]) -> str:
    """Return the page that shows the report."""
    by_tenant, by_action = document["byTenant"], document["byAction"]
    slowest = sorted(by_action, key=lambda one: -(one["p95"] or 0))
    return _ENVIRONMENT.get_template("report.html").render(
        report=document,
        width=WIDTH,
        labels=LABELS,
        curve=curve_of(document["bySecond"]),
        spread=rows_of((one["slug"], [one[name] for name in _QUANTILES]) for one in by_tenant),
        served=rows_of(((one["slug"], [one["perSecond"]]) for one in by_tenant), digits=1),
        actions=rows_of((one["action"], [one[name] for name in _QUANTILES]) for one in slowest),
    )
