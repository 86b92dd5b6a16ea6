"""Analytics as a CSV file (RFC 4180), one row for each route, user, hour, status and feature."""

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from mis_http.spreadsheets import neutral
from tenant_service.usage.schemas import AnalyticsOut

COLUMNS: Final = ("dimension", "name", "requests", "errors", "clientErrors", "rejected", "p50", "p95")
_DIMENSIONS: Final = {
    "byRoute": ("route", "route"),
    "byUser": ("user", "userId"),
    "byHour": ("hour", "hour"),
    "byStatus": ("status", "status"),
    "byFeature": ("feature", "feature"),
}


def csv_of(found: AnalyticsOut) -> str:
    """Return the rows of `found` under COLUMNS; a cell without a value is empty."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    table.writerows(_rows(found.wire()))
    return text.getvalue()


def _rows(document: dict[str, Any]) -> Iterator[list[Any]]:
    for member, (dimension, name) in _DIMENSIONS.items():
        for row in document[member] or ():
            times = row.get("responseTime", {})
            cells = {"dimension": dimension, "name": neutral(str(row[name]))} | row | times
            yield [cells.get(column) for column in COLUMNS]
