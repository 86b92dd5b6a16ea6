"""The statement of a search, whose cost depends on no guess of the planner's.

Postgres takes the beginning of a word for half a per cent of all terms, whatever it is, and tenants differ
by a factor of a million. So the statement itself finds out which way is short, by looking at some terms of
each word that is asked for, and at the beginning of a narrowed list:

- Where that is all of a word's, the users are those terms'; or where a narrowed list ends as soon (`_few`).
- Else it walks from the page's place along terms in the order of the list, and soon fills a page with what
  so many have. It walks along those that begin with the same two letters, for one letter along all. Along
  several words, or a word and a narrowed list, it walks at once, and takes who is met on each of them; but
  whether a narrowed list leaves nearly everybody in, it finds out first by asking some users of the word.
- Where they all stand far away, all terms are collected after all (`_anywhere`), which is what it costs then.

A statement of this size takes longer to build than to run, so there is one for each shape of a search, with
its values given apart (docs/decisions/0019-search-finds-its-own-way.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    and_,
    case,
    false,
    func,
    intersect,
    not_,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import InstrumentedAttribute, aliased

from mis_models.accounts import UserRow, UserTermRow
from user_service.users.term_repository import (
    NONE,
    ONE,
    TRUE,
    at_most,
    count_of,
    first_terms,
    given,
    has_words,
    is_exactly,
    number,
    users_with_word,
    within,
)

# So many terms are read to see whether they are all; of several words more, as few may have them together.
_FEW: Final = 200
_FEW_TOGETHER: Final = 500
# So many entries a walk passes, and each of several that are merged, as collecting costs more for those.
_NEAR: Final = 2_000
_NEAR_MERGED: Final = 8_000
# So many terms a user has, which are all passed where a word is too short to have a stem.
_OF_ONE: Final = 4
# So many users of a word are asked whether they are in the narrowed list.
_ASKED: Final = 60

Columns = tuple[InstrumentedAttribute[Any], ...]


class Narrowing(NamedTuple):
    """The list is narrowed by a column, perhaps to what most users have, such as `active`."""

    column: str
    is_usual: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a search its statement depends on; `stems` of the words are long enough to have one."""

    shown: Columns
    words: int
    stems: int
    filters: tuple[Narrowing, ...]
    is_ascending: bool
    is_first_page: bool


@cache
def statement_of(shape: Shape) -> Select[Any]:
    """Return the select of a page of what a search of the shape finds; its values are given apart."""
    return _Builder(shape).statement()


@dataclass(frozen=True, slots=True)
class _Walk:
    """The next `most` entries in the order of the list; those that `fit` count, and name a user by `id`."""

    passed: Select[Any]
    most: int
    id: ColumnElement[Any]
    fit: ColumnElement[bool]

    @property
    def is_cut_off(self) -> ColumnElement[bool]:
        """Whether there may be more behind; a walk that came to the list's end has seen everybody."""
        last = self.passed.limit(ONE).offset(number(self.most - 1)).subquery()
        return cast("ColumnElement[bool]", select(TRUE).select_from(last).scalar_subquery().is_not(None))


class _Builder:
    """Builds the statement of one shape; the words stand by length, the longest one at place 0."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._places = range(shape.words)
        # Along several words, or along one and the narrowed list; without a stem along that list alone.
        self._walked_words = shape.stems or (0 if shape.filters else shape.words)
        self._length = given("length", func.count())
        lists = enumerate(self._filters(UserRow))
        # What most users have is a long list, so they are asked for that where there is another one.
        unusual = [place for place in range(len(shape.filters)) if not shape.filters[place].is_usual]
        self._walked_lists = (unusual or [0]) if shape.filters and shape.stems <= 1 else []
        self._most_few = _FEW if shape.words == 1 else _FEW_TOGETHER
        self._looked_at = [first_terms(place, self._most_few) for place in self._places]
        self._looked_at += [self._first_listed(place, wanted) for place, wanted in lists]
        # Which of them are few: the first that are, else none (null). Asked for once.
        few: list[tuple[ColumnElement[bool], ColumnElement[int]]] = [
            (count_of(first) <= number(self._most_few), number(place))
            for place, first in enumerate(self._looked_at)
        ]
        self._few_place = _once(case(*few), "few")

    def statement(self) -> Select[Any]:
        """Return the select of the page's users, one more than it holds where there is more."""
        ways = [self._few(place) for place in range(len(self._looked_at))]
        are_many: ColumnElement[bool] = self._few_place.is_(None)
        if self._shape.stems == 1 and self._shape.filters:
            asked = self._asked(are_many).cte("asked")
            is_full = count_of(asked) >= self._length
            ways.append(select(asked.c.id).where(is_full))
            are_many = and_(are_many, not_(is_full))
        walks = self._walks(are_many)
        met = self._met(walks).cte("met")
        # A page that is full is not asked where its walks have ended.
        has_room = and_(are_many, count_of(met) < self._length)
        is_short = _once(case((has_room, or_(*(one.is_cut_off for one in walks))), else_=false()), "short")
        ways += [
            select(met.c.id).where(not_(is_short)),
            select(self._anywhere(is_short).subquery("anywhere").c.id),
        ]
        found = union_all(*ways).subquery("found")
        one_user = select(*self._shape.shown).where(UserRow.id == found.c.id).limit(ONE)
        users = one_user.lateral("users_found")
        return self._cut(select(*users.c).select_from(found.join(users, true())), users.c.id)

    def _first_listed(self, place: int, wanted: ColumnElement[bool]) -> CTE:
        """Return the first users of the list that one of its filters narrows, one more than are few."""
        listed = select(UserRow.id.label("user_id")).where(wanted, self._is_ahead(UserRow.id))
        ordered = listed.order_by(self._directed(UserRow.id))
        return ordered.limit(at_most(self._most_few + 1)).cte(f"listed_{place}")

    def _few(self, place: int) -> Select[Any]:
        """Return the page of the few that stand at the place, asked in the list's order until it is full."""
        user_id = self._looked_at[place].c.user_id
        few = select(user_id.label("id")).where(self._few_place == number(place), self._is_ahead(user_id))
        ordered = self._once_each(few, user_id).offset(NONE).subquery(f"few_{place}")
        others = [other for other in self._places if other != place]
        fits = (has_words(others, ordered.c.id), self._is_wanted(ordered.c.id))
        found = self._cut(select(ordered.c.id).where(*fits), ordered.c.id).subquery(f"found_{place}")
        return select(found.c.id)

    def _walks(self, condition: ColumnElement[bool]) -> list[_Walk]:
        """Return along what to walk; whoever is met on each has all that those stand for."""
        most = _NEAR if self._walked_words + len(self._walked_lists) == 1 else _NEAR_MERGED
        along_words = [self._along_word(place, condition, most) for place in range(self._walked_words)]
        return along_words + [self._along_list(place, condition, most) for place in self._walked_lists]

    def _along_word(self, place: int, condition: ColumnElement[bool], most: int) -> _Walk:
        """Walk along the terms of the word's stem, or of all users where it has none."""
        term = aliased(UserTermRow, name=f"ahead_{place}")
        ahead = [condition, self._is_ahead(term.user_id)]
        if place < self._shape.stems:
            ahead.append(term.stem == given(f"stem_{place}", UserTermRow.stem))
        else:
            most *= _OF_ONE
        shown: tuple[Any, ...] = (term.user_id.label("id"), term.term)
        entries = select(*shown).where(*ahead)
        passed = entries.order_by(self._directed(term.user_id)).limit(at_most(most))
        rows = passed.subquery(f"along_word_{place}")
        return _Walk(passed, most, rows.c.id, within(rows.c.term, place))

    def _along_list(self, place: int, condition: ColumnElement[bool], most: int) -> _Walk:
        """Walk along the list narrowed by one of its filters."""
        user = aliased(UserRow, name=f"user_{place}")
        ahead = (condition, self._is_ahead(user.id), self._filters(user)[place])
        entries = select(user.id.label("id")).where(*ahead)
        passed = entries.order_by(self._directed(user.id)).limit(at_most(most))
        return _Walk(passed, most, passed.subquery(f"along_list_{place}").c.id, true())

    def _met(self, walks: Sequence[_Walk]) -> Select[Any]:
        """Return who is met on each walk, and has what none of them stands for."""
        if len(walks) == 1:
            (only,) = walks
            fits = (only.fit, self._has_the_rest(only.id))
            return self._once_each(select(only.id.label("id")).where(*fits), only.id).limit(self._length)
        # Each in the list's order, so that they are merged as they are read, and no further than is needed.
        ways = [
            select(one.id.label("id"), number(place).label("walk"))
            .where(one.fit)
            .order_by(self._directed(one.id))
            for place, one in enumerate(walks)
        ]
        merged = union_all(*ways).subquery("merged")
        on_each = (func.bool_or(merged.c.walk == number(place)) for place in range(len(walks)))
        rows = select(merged.c.id).group_by(merged.c.id)
        return self._cut(rows.having(and_(*on_each, self._has_the_rest(merged.c.id))), merged.c.id)

    def _asked(self, condition: ColumnElement[bool]) -> Select[Any]:
        """Return those of the word's next users who are in the narrowed list, and have the other words."""
        walk = self._along_word(0, condition, _NEAR)
        users = self._once_each(select(walk.id.label("id")).where(walk.fit), walk.id)
        next_ones = users.limit(at_most(_ASKED)).subquery("next_ones")
        fits = (has_words(self._places[1:], next_ones.c.id), self._is_wanted(next_ones.c.id))
        return self._cut(select(next_ones.c.id).where(*fits), next_ones.c.id)

    def _has_the_rest(self, user_id: Any) -> ColumnElement[bool]:
        """Return whether the user has what no walk stands for."""
        other_words = has_words(self._places[self._walked_words :], user_id)
        are_filters_walked = len(self._walked_lists) == len(self._shape.filters)
        return other_words if are_filters_walked else and_(other_words, self._is_wanted(user_id))

    def _anywhere(self, condition: ColumnElement[bool]) -> Select[Any]:
        having_all = intersect(*(users_with_word(place, condition) for place in self._places)).subquery(
            "having_all"
        )
        ahead = select(having_all.c.id).where(self._is_ahead(having_all.c.id))
        # In the list's order first, so that no more of them are asked than the page takes.
        ordered = self._once_each(ahead, having_all.c.id).offset(NONE).subquery("ordered")
        return self._cut(select(ordered.c.id).where(self._is_wanted(ordered.c.id)), ordered.c.id)

    def _once_each(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        # So written, what is the same is found by sorting. A table of hashes would be made in the size that
        # Postgres expects, which costs more than the search where none is put into it.
        return rows.ext(distinct_on(user_id)).order_by(self._directed(user_id))

    def _cut(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        return rows.order_by(self._directed(user_id)).limit(self._length)

    def _directed(self, column: Any) -> ColumnElement[Any]:
        return cast("ColumnElement[Any]", column.asc() if self._shape.is_ascending else column.desc())

    def _is_ahead(self, user_id: Any) -> ColumnElement[bool]:
        if self._shape.is_first_page:
            return true()
        after = given("after", UserRow.id)
        return cast("ColumnElement[bool]", user_id > after if self._shape.is_ascending else user_id < after)

    def _is_wanted(self, user_id: Any) -> ColumnElement[bool]:
        filters = self._filters(UserRow)
        if not filters:
            return true()
        one = select(TRUE).where(UserRow.id == user_id, *filters).limit(ONE)
        return one.correlate_except(UserRow).scalar_subquery()

    def _filters(self, user: Any) -> list[ColumnElement[bool]]:
        return [
            is_exactly(getattr(user, one.column), given(f"wanted_{one.column}", UserRow.role))
            for one in self._shape.filters
        ]


def _once(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Return the value as what is found out but once, wherever in the statement it stands."""
    found = select(value.label("value")).cte(name)
    return select(found.c.value).scalar_subquery()
