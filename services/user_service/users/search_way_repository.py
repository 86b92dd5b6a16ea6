"""The statement of a search that looks a little along each way, so its cost depends on no guess of Postgres'.

Postgres takes the beginning of a word for half a per cent of all terms, whatever it is, and tenants differ
by a factor of a million. So the statement itself finds out which way is short. It tries them in turns, each
no further than the value `most` says, and takes the first one that comes to an end:

- All terms of a word, or the whole of a narrowed list, are read, and their users asked for the rest.
- It walks from the page's place along terms in the order of the list, which soon fills a page with what many
  have: along those that begin with the same two letters, for one letter along all.
- Along several words, or a word and a narrowed list, it walks at once, and takes who is met on each of them.
  But of a list that leaves nearly everybody in, some users of the word are asked first.

Where none comes to an end it shows one record, which has no id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Uuid,
    and_,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import aliased

from mis_models.accounts import UserRow, UserTermRow
from user_service.users.search_parts_repository import Parts, Shape
from user_service.users.term_repository import (
    NONE,
    are_more,
    count_of,
    given,
    has_words,
    number,
    terms_of,
    within,
)

# For each term that is looked at, so many entries are passed along a walk; or of all terms, of which a user
# has several.
_PASSED: Final = 6
_PASSED_OF_ALL: Final = 12
# Of so many terms that are looked at, one user is asked whether they are in the narrowed list.
_TERMS_FOR_ONE_ASKED: Final = 4

_NOBODY: Final[ColumnElement[Any]] = literal_column("null::uuid", Uuid())


@cache
def looking(shape: Shape) -> Select[Any]:
    """Return the select of a page of what a search of the shape finds; its values are given apart."""
    return _Builder(shape).statement()


class _Way(NamedTuple):
    """The ids of the page, and whether they are the page."""

    is_whole: ColumnElement[bool]
    page: Select[Any]


@dataclass(frozen=True, slots=True)
class _Walk:
    """The next `most` entries in the order of the list; those that `fit` count, and name a user by `id`."""

    passed: Select[Any]
    most: ColumnElement[int]
    id: ColumnElement[Any]
    fit: ColumnElement[bool]

    @property
    def is_cut_off(self) -> ColumnElement[bool]:
        """Whether there are more behind; a walk that came to the list's end has seen everybody."""
        return are_more(self.passed, self.most)


class _Builder(Parts):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._most = given("most", func.count())
        # Along several words, or along one and the narrowed list; without a stem along that list alone.
        self._walked_words = shape.stems or (0 if shape.filters else shape.words)
        # What most users have is a long list, so they are asked for that where there is another one.
        unusual = [place for place in range(len(shape.filters)) if not shape.filters[place].is_usual]
        is_walked = bool(shape.filters) and shape.stems <= 1
        self._walked_lists = (unusual or [0]) if is_walked else []
        is_asked = is_walked and shape.stems == 1
        self._asks = is_asked and not (shape.is_first_look and unusual)
        self._merges = not (is_asked and shape.is_first_look and not unusual)

    def statement(self) -> Select[Any]:
        """Return the select of the page's users, one more than it holds where there is more."""
        ways = self._few_ways()
        ways += [self._asked()] if self._asks else []
        ways += [self._met()] if self._merges else []
        steps = ((way.is_whole, number(place)) for place, way in enumerate(ways))
        taken = select(case(*steps).label("way")).cte("taken")
        way = select(taken.c.way).scalar_subquery()
        pages = [one.page.where(way == number(place)) for place, one in enumerate(ways)]
        pages.append(select(_NOBODY.label("id")).where(taken.c.way.is_(None)))
        return self.users(union_all(*pages).subquery("found"))

    def _few_ways(self) -> list[_Way]:
        looked_at = [terms_of(place) for place in self.places]
        looked_at += [self._listed(wanted) for wanted in self.filters(UserRow)]
        return [
            _Way(not_(are_more(one, self._most)), self._few(place, one))
            for place, one in enumerate(looked_at)
        ]

    def _listed(self, wanted: ColumnElement[bool]) -> Select[Any]:
        """Return the list that one of its filters narrows, from the page's place on."""
        listed = select(UserRow.id.label("user_id")).where(wanted, self.is_ahead(UserRow.id))
        return listed.order_by(self.directed(UserRow.id))

    def _few(self, place: int, rows: Select[Any]) -> Select[Any]:
        """Return the page of the few that stand at the place, asked in the list's order until it is full."""
        user_id = rows.limit(self._most).subquery(f"all_{place}").c.user_id
        few = select(user_id.label("id")).where(self.is_ahead(user_id))
        ordered = self.once_each(few, user_id).offset(NONE).subquery(f"few_{place}")
        others = [other for other in self.places if other != place]
        fits = (has_words(others, ordered.c.id), self.is_wanted(ordered.c.id))
        found = self.cut(select(ordered.c.id).where(*fits), ordered.c.id).subquery(f"found_{place}")
        return select(found.c.id)

    def _asked(self) -> _Way:
        """Ask the word's next users whether they are in the narrowed list, and have the other words."""
        walk = self._along_word(0)
        users = self.once_each(select(walk.id.label("id")).where(walk.fit), walk.id)
        most = self._most // number(_TERMS_FOR_ONE_ASKED)
        next_ones = users.limit(most).cte("next_ones")
        fits = (has_words(self.places[1:], next_ones.c.id), self.is_wanted(next_ones.c.id))
        asked = self.cut(select(next_ones.c.id).where(*fits), next_ones.c.id).cte("asked")
        are_all = and_(count_of(next_ones) < most, not_(walk.is_cut_off))
        return _Way(or_(count_of(asked) >= self.length, are_all), select(asked.c.id))

    def _met(self) -> _Way:
        """Walk along the words, or the word and the narrowed list, for who is met on each."""
        walks = [self._along_word(place) for place in range(self._walked_words)]
        walks += [self._along_list(place) for place in self._walked_lists]
        met = (self._met_on(*walks) if len(walks) == 1 else self._met_on_each(walks)).cte("met")
        is_cut_off = or_(*(walk.is_cut_off for walk in walks))
        return _Way(or_(count_of(met) >= self.length, not_(is_cut_off)), select(met.c.id))

    def _along_word(self, place: int) -> _Walk:
        """Walk along the terms of the word's stem, or of all users where it has none."""
        term = aliased(UserTermRow, name=f"ahead_{place}")
        ahead, most = [self.is_ahead(term.user_id)], self._most * number(_PASSED_OF_ALL)
        if place < self.shape.stems:
            ahead.append(term.stem == given(f"stem_{place}", UserTermRow.stem))
            most = self._most * number(_PASSED)
        shown: tuple[Any, ...] = (term.user_id.label("id"), term.term)
        entries = select(*shown).where(*ahead).order_by(self.directed(term.user_id))
        passed = entries.limit(most)
        rows = passed.subquery(f"along_word_{place}")
        return _Walk(passed, most, rows.c.id, within(rows.c.term, place))

    def _along_list(self, place: int) -> _Walk:
        """Walk along the list narrowed by one of its filters."""
        user = aliased(UserRow, name=f"user_{place}")
        wanted, most = list(self.filters(user))[place], self._most * number(_PASSED)
        entries = select(user.id.label("id")).where(self.is_ahead(user.id), wanted)
        passed = entries.order_by(self.directed(user.id)).limit(most)
        return _Walk(passed, most, passed.subquery(f"along_list_{place}").c.id, true())

    def _met_on(self, walk: _Walk) -> Select[Any]:
        fits = (walk.fit, self._has_the_rest(walk.id))
        return self.once_each(select(walk.id.label("id")).where(*fits), walk.id).limit(self.length)

    def _met_on_each(self, walks: Sequence[_Walk]) -> Select[Any]:
        # Each in the list's order, so that they are merged as they are read, and no further than is needed.
        # A user's walks are the bits of one number.
        ways = [
            select(one.id.label("id"), number(1 << place).label("walk"))
            .where(one.fit)
            .order_by(self.directed(one.id))
            for place, one in enumerate(walks)
        ]
        merged = union_all(*ways).subquery("merged")
        is_on_each = func.bit_or(merged.c.walk) == number((1 << len(walks)) - 1)
        rows = select(merged.c.id).group_by(merged.c.id)
        return self.cut(rows.having(and_(is_on_each, self._has_the_rest(merged.c.id))), merged.c.id)

    def _has_the_rest(self, user_id: Any) -> ColumnElement[bool]:
        """Return whether the user has what no walk stands for."""
        other_words = has_words(self.places[self._walked_words :], user_id)
        are_filters_walked = len(self._walked_lists) == len(self.shape.filters)
        return other_words if are_filters_walked else and_(other_words, self.is_wanted(user_id))
