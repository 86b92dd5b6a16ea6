"""A search of users: what it asks one after the other, and the values of its parameters.

Nobody knows beforehand which way is short, so the first statement looks a little along each, and says where
that has not been enough; the next one looks further (docs/decisions/0019-search-finds-its-own-way.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select

from mis_accounts.search_terms import prefix_ranges
from mis_http.pages import Page
from mis_models.accounts import STEM
from mis_tenancy.tenant import Role
from user_service.users.collecting_repository import collecting
from user_service.users.filters import UserFilter
from user_service.users.search_parts_repository import Columns, Narrowing, Shape
from user_service.users.search_way_repository import looking

# So many terms of a word does the first statement look at for each user of the page, and so many does each
# further one for each term of the one before it; none looks at more than those.
_LOOKED_AT: Final = 8
_FURTHER: Final = 8
_MOST: Final = 12_000


@dataclass(frozen=True, slots=True)
class Step:
    """A statement and the values of its parameters."""

    statement: Select[Any]
    values: dict[str, Any]


def is_whole(records: Sequence[Any]) -> bool:
    """Return whether these are the page; else the step's one record, which has no id, says to go on."""
    return not records or records[0][0] is not None


@dataclass(frozen=True, slots=True)
class Search:
    """A search for a page of what the query finds."""

    shape: Shape
    values: dict[str, Any]

    def steps(self) -> Iterator[Step]:
        """Yield what to ask until an answer is whole; that of the last one is.

        Each statement reads for each word and each filter no more than 30 times `most` entries of an index
        (50 times for one letter), and asks no more than six times `most` users for what else they have. It
        is whole where `most` is as large as m, the least of: how many terms a word has, how many the
        narrowed list has, and a sixth of the entries before the end of the page along the longest walk. So
        all of them together read at most in proportion to m, however many others there are. Where even m is
        beyond `_MOST`, all terms of all the words are read, once.
        """
        most = _LOOKED_AT * int(self.values["length"])
        shape = self.shape.at_first
        while most <= _MOST:
            yield Step(looking(shape), self.values | {"most": most})
            shape, most = self.shape, most * _FURTHER
        yield Step(collecting(self.shape), self.values)


def search_of(wanted: UserFilter, page: Page, shown: Columns) -> Search | None:
    """Return the search of a page of what the query finds, or None where it asks for nothing."""
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
    return Search(shape, values)


def _narrowings(wanted: UserFilter) -> tuple[Narrowing, ...]:
    found = []
    if wanted.role is not None:
        found.append(Narrowing("role", wanted.role is Role.MEMBER))
    if wanted.status is not None:
        found.append(Narrowing("status", wanted.status == "active"))
    return tuple(found)
