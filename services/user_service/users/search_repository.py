"""The statement of a search, whose cost depends on no guess of the planner's.

Postgres takes the beginning of a word for half a per cent of all terms, whatever it is, and tenants differ
by a factor of a million. So the statement itself finds out which way is short, by looking at some terms of
each word that is asked for:

- Where that is all of a word's, the users are those terms' (`_few`).
- Else it walks from the page's place along terms in the order of the list, and soon fills a page with what
  so many have (`_near`). It walks along those that begin with the same two letters, for one letter along
  all; and where the list is narrowed to a role or a status along that, asking each user for his terms.
- Where they all stand far away, all terms are collected after all (`_anywhere`), which is what it costs then.

Sub-selects with a limit or an offset keep Postgres from turning these into joins of whole tables. A
statement of this size takes longer to build than to run, so there is one for each shape of a search, with its
values given apart (docs/decisions/0019-search-finds-its-own-way.md).
"""

from collections.abc import Iterable
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
    case,
    false,
    func,
    intersect,
    literal_column,
    not_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import InstrumentedAttribute, aliased

from mis_accounts.search_terms import prefix_ranges
from mis_http.pages import Page
from mis_models.accounts import STEM, UserRow, UserTermRow
from user_service.users.filters import UserFilter

# So many terms are read to see whether they are all.
_FEW: Final = 400
# So many terms, or users of a narrowed list, a walk passes.
_NEAR: Final = 2_000
_NONE: Final[ColumnElement[int]] = literal_column("0")
_ONE: Final[ColumnElement[int]] = literal_column("1")
_TRUE: Final[ColumnElement[bool]] = literal_column("true")
# The terms again, where one user's are asked for, and where they are walked along.
_PROBE: Final = aliased(UserTermRow, name="probe")
_AHEAD: Final = aliased(UserTermRow, name="ahead")

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
    has_stem: bool
    has_role: bool
    has_status: bool
    is_ascending: bool
    is_first_page: bool


def search_of(wanted: UserFilter, page: Page, shown: Columns) -> Search | None:
    """Return the select of a page of what the query finds, or None where it asks for nothing."""
    ranges = sorted(prefix_ranges(wanted.query), key=lambda one: len(one[0]), reverse=True)
    if not ranges:
        return None
    longest = ranges[0][0]
    shape = _Shape(
        shown,
        len(ranges),
        len(longest) >= STEM,
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
        "stem": longest[:STEM],
    }
    for place, (first, beyond) in enumerate(ranges):
        values |= {f"first_{place}": first, f"beyond_{place}": beyond}
    return Search(_statement(shape), values)


@cache
def _statement(shape: _Shape) -> Select[Any]:
    return _Builder(shape).statement()


class _Builder:
    """Builds the statement of one shape; the word at place 0 is the longest."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._places = range(shape.words)
        self._length = _given("length", func.count())
        self._looked_at = [_terms_at(place) for place in self._places]
        # Which word has few terms: the first one that does, else none (null). Asked for once.
        few: list[tuple[ColumnElement[bool], ColumnElement[int]]] = [
            (_count_of(terms) <= literal_column(str(_FEW)), literal_column(str(place)))
            for place, terms in enumerate(self._looked_at)
        ]
        verdict = select(case(*few).label("place")).cte("verdict")
        self._few_place: ColumnElement[int] = select(verdict.c.place).scalar_subquery()

    def statement(self) -> Select[Any]:
        """Return the select of the page's users, one more than it holds where there is more."""
        walked = (self._listed() if self._filters() else self._terms_ahead()).cte("walked")
        near = self._near(walked).cte("near")
        # A walk that came to the list's end has seen everybody; what has filled the page is not counted.
        is_cut_off = _count_of(walked) == literal_column(str(_NEAR))
        is_short = case((_count_of(near) < self._length, is_cut_off), else_=false())
        ways = (
            *(self._few(place) for place in self._places),
            select(near.c.id).where(not_(is_short)),
            select(self._anywhere(is_short).subquery("anywhere").c.id),
        )
        found = union_all(*ways).subquery("found")
        one_user = select(*self._shape.shown).where(UserRow.id == found.c.id).limit(_ONE)
        users = one_user.lateral("users_found")
        return self._cut(select(*users.c).select_from(found.join(users, true())), users.c.id)

    def _few(self, place: int) -> Select[Any]:
        user_id = self._looked_at[place].c.user_id
        others = [other for other in self._places if other != place]
        fits = (
            self._few_place == literal_column(str(place)),
            self._is_ahead(user_id),
            _has_words(others, user_id),
            self._is_wanted(user_id),
        )
        few = self._cut_once(select(user_id.label("id")).where(*fits), user_id).subquery(f"few_{place}")
        return select(few.c.id)

    def _terms_ahead(self) -> Select[Any]:
        """Return the next terms in the list's order, those of the longest word's stem where it has one."""
        user_id = _AHEAD.user_id
        ahead = [self._few_place.is_(None), self._is_ahead(user_id)]
        if self._shape.has_stem:
            ahead.append(_AHEAD.stem == _given("stem", UserTermRow.stem))
        shown: tuple[Any, ...] = (user_id.label("id"), _AHEAD.term)
        return (
            select(*shown).where(*ahead).order_by(self._directed(user_id)).limit(literal_column(str(_NEAR)))
        )

    def _listed(self) -> Select[Any]:
        """Return the next users of the narrowed list."""
        ahead = (self._few_place.is_(None), self._is_ahead(UserRow.id), *self._filters())
        listed = select(UserRow.id).where(*ahead).order_by(self._directed(UserRow.id))
        return listed.limit(literal_column(str(_NEAR)))

    def _near(self, walked: CTE) -> Select[Any]:
        """Return those of the walk who have all words."""
        user_id = walked.c.id
        if "term" not in walked.c:
            return self._cut(select(user_id).where(_has_words(self._places, user_id)), user_id)
        # A user's terms stand one behind the other.
        fits = and_(_within(walked.c.term, 0), _has_words(self._places[1:], user_id))
        return self._cut_once(select(user_id).where(fits), user_id)

    def _anywhere(self, condition: ColumnElement[bool]) -> Select[Any]:
        users_of_words = (_terms_of(place, self._few_place.is_(None), condition) for place in self._places)
        having_all = intersect(*users_of_words).subquery("having_all")
        fits = and_(self._is_ahead(having_all.c.id), self._is_wanted(having_all.c.id))
        return self._cut_once(select(having_all.c.id).where(fits), having_all.c.id)

    def _cut_once(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        # So written, what is the same is found by sorting. A table of hashes would be made in the size that
        # Postgres expects, which costs more than the search where none is put into it.
        return self._cut(rows.ext(distinct_on(user_id)), user_id)

    def _cut(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        return rows.order_by(self._directed(user_id)).limit(self._length)

    def _directed(self, column: Any) -> ColumnElement[Any]:
        return cast("ColumnElement[Any]", column.asc() if self._shape.is_ascending else column.desc())

    def _is_ahead(self, user_id: Any) -> ColumnElement[bool]:
        if self._shape.is_first_page:
            return true()
        after = _given("after", UserRow.id)
        return cast("ColumnElement[bool]", user_id > after if self._shape.is_ascending else user_id < after)

    def _is_wanted(self, user_id: Any) -> ColumnElement[bool]:
        filters = self._filters()
        if not filters:
            return true()
        one = select(_TRUE).where(UserRow.id == user_id, *filters).limit(_ONE)
        return one.correlate_except(UserRow).scalar_subquery()

    def _filters(self) -> list[ColumnElement[bool]]:
        role = UserRow.role == _given("wanted_role", UserRow.role)
        status = UserRow.status == _given("wanted_status", UserRow.status)
        return [role] * self._shape.has_role + [status] * self._shape.has_status


def _terms_at(place: int) -> CTE:
    # In their index's order, lest Postgres read through the table until it has met so many.
    looked_at = select(UserTermRow.user_id).where(_within(UserTermRow.term, place)).order_by(UserTermRow.term)
    return looked_at.limit(literal_column(str(_FEW + 1))).cte(f"looked_at_{place}")


def _terms_of(place: int, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the users of all terms that the word begins, read in their index's order."""
    terms = select(UserTermRow.user_id.label("id")).where(*conditions, _within(UserTermRow.term, place))
    ordered = terms.order_by(UserTermRow.term).offset(_NONE).subquery(f"terms_{place}")
    return select(ordered.c.id)


def _has_words(places: Iterable[int], user_id: Any) -> ColumnElement[bool]:
    """Return whether the user has a term of each of those words, asked user by user."""
    return and_(true(), *(_has_word(place, user_id) for place in places))


def _has_word(place: int, user_id: Any) -> ColumnElement[bool]:
    # The offset, though of nothing, keeps the range away from the index of terms, where it may be long.
    own = (
        select(_PROBE.term).where(_PROBE.user_id == user_id).offset(_NONE).correlate_except(_PROBE).subquery()
    )
    return select(_TRUE).where(_within(own.c.term, place)).limit(_ONE).scalar_subquery()


def _within(term: Any, place: int) -> ColumnElement[bool]:
    first, beyond = _given(f"first_{place}", UserTermRow.term), _given(f"beyond_{place}", UserTermRow.term)
    return and_(term >= first, term < beyond)


def _given(name: str, like: Any) -> ColumnElement[Any]:
    """Return the parameter as a sub-select, behind which Postgres does not look when it plans.

    Else each word would have a plan of its own, made anew for every search, which takes as long as that.
    """
    parameter: BindParameter[Any] = bindparam(name, type_=like.type)
    return select(parameter).scalar_subquery()


def _count_of(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()
