"""A search of users: which statement it takes, and the values of its parameters."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

from mis_accounts.search_terms import prefix_ranges
from mis_http.pages import Page
from mis_models.accounts import STEM
from mis_tenancy.tenant import Role
from user_service.users.filters import UserFilter
from user_service.users.search_way_repository import Columns, Narrowing, Shape, statement_of


@dataclass(frozen=True, slots=True)
class Search:
    """A search's statement and the values of its parameters."""

    statement: Select[Any]
    values: dict[str, Any]


def search_of(wanted: UserFilter, page: Page, shown: Columns) -> Search | None:
    """Return the select of a page of what the query finds, or None where it asks for nothing."""
    ranges = sorted(prefix_ranges(wanted.query), key=lambda one: len(one[0]), reverse=True)
    if not ranges:
        return None
    shape = Shape(
        shown,
        len(ranges),
        sum(len(first) >= STEM for first, _ in ranges),
        _narrowings(wanted),
        page.ascending,
        page.after is None,
    )
    values: dict[str, Any] = {
        "wanted_role": wanted.role and wanted.role.value,
        "wanted_status": wanted.status,
        "after": page.after,
        "length": page.limit + 1,
    }
    for place, (first, beyond) in enumerate(ranges):
        values |= {f"first_{place}": first, f"beyond_{place}": beyond, f"stem_{place}": first[:STEM]}
    return Search(statement_of(shape), values)


def _narrowings(wanted: UserFilter) -> tuple[Narrowing, ...]:
    found = []
    if wanted.role is not None:
        found.append(Narrowing("role", wanted.role is Role.MEMBER))
    if wanted.status is not None:
        found.append(Narrowing("status", wanted.status == "active"))
    return tuple(found)
