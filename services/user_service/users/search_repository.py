"""The statement of a search, whose cost depends on no guess of the planner's.

Postgres takes the beginning of a word for half a per cent of all terms, whatever it is, and tenants differ
by a factor of a million. So the statement itself finds out which way is short, by looking at up to a
thousand terms of the longest word that is asked for:

- Where that is all of them, the users are those terms' (`_few`).
- Else it walks down the list from the page's place and asks of each user whether he has such a term, which
  soon fills a page with what so many have (`_near`).
- Where they all stand far away, all terms are collected after all (`_anywhere`), which is what it costs then.

Sub-selects with a limit or an offset keep Postgres from turning these into joins of whole tables. A
statement of this size takes longer to build than to run, so there is one for each shape of a search, with its
values given apart (docs/decisions/0019-search.md).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    intersect,
    literal_column,
    not_,
    select,
    true,
    union,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from mis_accounts.search_terms import prefix_ranges
from mis_http.pages import Page
from mis_models.accounts import UserRow, UserTermRow
from user_service.users.filters import UserFilter

_FEW: Final = 1_000
_NEAR: Final = 3_000
_NONE: Final[ColumnElement[int]] = literal_column("0")
_ONE: Final[ColumnElement[int]] = literal_column("1")
_TRUE: Final[ColumnElement[bool]] = literal_column("true")
# The terms again, where one user's are asked for.
_PROBE: Final = aliased(UserTermRow, name="probe")

Columns = tuple[InstrumentedAttribute[Any], ...]


@dataclass(frozen=True, slots=True)
class Search:
    """A search's statement and the values of its parameters."""

    statement: Select[Any]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a search its statement depends on."""

    shown: Columns
    words: int
    has_role: bool
    has_status: bool
    is_ascending: bool
    is_first_page: bool


def search_of(wanted: UserFilter, page: Page, shown: Columns) -> Search | None:
    """Return the select of a page of what the query finds, or None where it asks for nothing."""
    ranges = sorted(prefix_ranges(wanted.query), key=lambda one: len(one[0]), reverse=True)
    if not ranges:
        return None
    shape = _Shape(
        shown,
        len(ranges),
        wanted.role is not None,
        wanted.status is not None,
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
        values |= {f"first_{place}": first, f"beyond_{place}": beyond}
    return Search(_statement(shape), values)


@cache
def _statement(shape: _Shape) -> Select[Any]:
    return _Builder(shape).statement()


class _Builder:
    """Builds the statement of one shape; the word at place 0 is the one that leads."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._length: BindParameter[int] = bindparam("length", type_=func.count().type)
        # In their index's order, lest Postgres read through the table until it has met so many.
        looked_at = select(UserTermRow.user_id).where(_within(UserTermRow.term, 0)).order_by(UserTermRow.term)
        self._terms = looked_at.limit(literal_column(str(_FEW + 1))).cte("looked_at")
        # Counted once, and asked for thrice.
        count = (func.count() <= literal_column(str(_FEW))).label("are_few")
        verdict = select(count).select_from(self._terms).cte("verdict")
        self._are_few = select(verdict.c.are_few).scalar_subquery()

    def statement(self) -> Select[Any]:
        """Return the select of the page's users, one more than it holds where there is more."""
        next_ones = self._next_ones().cte("next_ones")
        near = self._near(next_ones).cte("near")
        # A walk that came to the list's end has seen everybody.
        is_short = and_(_count_of(near) < self._length, _count_of(next_ones) == literal_column(str(_NEAR)))
        anywhere = self._anywhere(and_(not_(self._are_few), is_short)).subquery("anywhere")
        found = union(self._few(), select(near.c.id), select(anywhere.c.id)).subquery("found")
        one_user = select(*self._shape.shown).where(UserRow.id == found.c.id).limit(_ONE)
        users = one_user.lateral("users_found")
        return self._cut(select(*users.c).select_from(found.join(users, true())), users.c.id)

    def _few(self) -> Select[Any]:
        user_id = self._terms.c.user_id
        fits = and_(
            self._are_few, self._is_ahead(user_id), self._has_words(1, user_id), self._is_wanted(user_id)
        )
        few = self._cut(select(user_id.label("id")).where(fits).distinct(), user_id).subquery("few")
        return select(few.c.id)

    def _next_ones(self) -> Select[Any]:
        listed = select(UserRow.id).where(not_(self._are_few), self._is_ahead(UserRow.id), *self._filters())
        return listed.order_by(self._directed(UserRow.id)).limit(literal_column(str(_NEAR)))

    def _near(self, next_ones: CTE) -> Select[Any]:
        return self._cut(select(next_ones.c.id).where(self._has_words(0, next_ones.c.id)), next_ones.c.id)

    def _anywhere(self, condition: ColumnElement[bool]) -> Select[Any]:
        users_of_words = (
            select(UserTermRow.user_id.label("id")).where(condition, _within(UserTermRow.term, place))
            for place in range(self._shape.words)
        )
        having_all = intersect(*users_of_words).subquery("having_all")
        fits = and_(self._is_ahead(having_all.c.id), self._is_wanted(having_all.c.id))
        return self._cut(select(having_all.c.id).where(fits).distinct(), having_all.c.id)

    def _cut(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        return rows.order_by(self._directed(user_id)).limit(self._length)

    def _directed(self, column: Any) -> ColumnElement[Any]:
        return cast("ColumnElement[Any]", column.asc() if self._shape.is_ascending else column.desc())

    def _is_ahead(self, user_id: Any) -> ColumnElement[bool]:
        if self._shape.is_first_page:
            return true()
        after: BindParameter[Any] = bindparam("after", type_=UserRow.id.type)
        return cast("ColumnElement[bool]", user_id > after if self._shape.is_ascending else user_id < after)

    def _is_wanted(self, user_id: Any) -> ColumnElement[bool]:
        filters = self._filters()
        if not filters:
            return true()
        one = select(_TRUE).where(UserRow.id == user_id, *filters).limit(_ONE)
        return one.correlate_except(UserRow).scalar_subquery()

    def _filters(self) -> list[ColumnElement[bool]]:
        role = UserRow.role == bindparam("wanted_role", type_=UserRow.role.type)
        status = UserRow.status == bindparam("wanted_status", type_=UserRow.status.type)
        return [role] * self._shape.has_role + [status] * self._shape.has_status

    def _has_words(self, from_place: int, user_id: Any) -> ColumnElement[bool]:
        """Return whether the user has a term of each word from that place on, asked user by user."""
        return and_(true(), *(_has_word(place, user_id) for place in range(from_place, self._shape.words)))


def _has_word(place: int, user_id: Any) -> ColumnElement[bool]:
    # The offset, though of nothing, keeps the range away from the index of terms, where it may be long.
    own = (
        select(_PROBE.term).where(_PROBE.user_id == user_id).offset(_NONE).correlate_except(_PROBE).subquery()
    )
    return select(_TRUE).where(_within(own.c.term, place)).limit(_ONE).scalar_subquery()


def _within(term: Any, place: int) -> ColumnElement[bool]:
    first: BindParameter[str] = bindparam(f"first_{place}", type_=UserTermRow.term.type)
    beyond: BindParameter[str] = bindparam(f"beyond_{place}", type_=UserTermRow.term.type)
    return and_(term >= first, term < beyond)


def _count_of(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()
